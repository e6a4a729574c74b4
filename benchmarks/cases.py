"""The cases: what is measured, and how its result is checked."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.audit_cases import audit_1h_10m, audit_9_clean
from benchmarks.bench_stack import BenchStack, bench_stack, hours_ago
from benchmarks.measure import CommandFailed, Measurement, measure, run_at_once
from embedded.demo import DAG_ID
from offload_core.failpoints import Failpoint

BRONZE = ("bronze_trades_binance", "bronze_trades_kraken")
EXCHANGES = ("binance", "kraken")
ROWS = 100_000
_RUN_SECONDS = 300.0


def bronze_2x100k(runs: int) -> Measurement:
    """The two bronze tables' Spark jobs at once, 100,000 new rows each."""
    with bench_stack(airflow=False) as bench:
        jobs = [bench.job(bench.table(name)) for name in BRONZE]
        costs = []
        for number in range(runs + 1):
            start = hours_ago(20 - number)
            bench.feed(ROWS, start, hours_ago(20 - number - 0.25), EXCHANGES)
            cost = run_at_once(jobs, bench.environ, bench.servers())
            if number:  # the first run warms the page cache
                costs.append(cost)
        return Measurement.of("bronze-2x100k", "ours", 2 * ROWS, costs, parity=bench.is_right(*BRONZE))


def recovery_100k(runs: int) -> Measurement:
    """The run after one that died between publishing 100,000 rows and recording that: it repairs the ledger and reads no row."""
    with bench_stack(airflow=False) as bench:
        job, costs = bench.job(bench.table(BRONZE[0])), []
        for number in range(runs + 1):
            bench.feed(ROWS, hours_ago(20 - number), hours_ago(20 - number - 0.25), EXCHANGES[:1])
            bench.run_killed(job, Failpoint.AFTER_PUBLISH)
            cost = run_at_once([job], bench.environ, bench.servers())
            if number:  # the first run warms the page cache
                costs.append(cost)
        return Measurement.of("recovery-100k", "ours", ROWS, costs, parity=bench.is_right(BRONZE[0]))


def cycle_9_empty(runs: int) -> Measurement:
    """A whole Airflow cycle of nine tables with nothing new, from trigger to success."""
    with bench_stack(airflow=True) as bench:
        api = bench.api()
        api.wait_for_dag(DAG_ID, 120)
        bench.feed(1_000, hours_ago(30), hours_ago(3), EXCHANGES)  # all candles but the day's have closed
        api.unpause(DAG_ID)
        _cycle(bench)
        costs = [measure(lambda: _empty_cycle(bench), bench.scheduler(), bench.servers()) for _ in range(runs)]
        return Measurement.of("cycle-9-empty", "ours", 0, costs, parity=bench.is_right())


def _cycle(bench: BenchStack) -> dict[str, str]:
    api = bench.api()
    run_id = api.trigger(DAG_ID)
    *_, run = api.follow(DAG_ID, run_id, _RUN_SECONDS)
    if run.state != "success":
        raise CommandFailed(f"{run_id} ended as {run.state}")
    return api.task_states(DAG_ID, run_id)


def _empty_cycle(bench: BenchStack) -> None:
    states = _cycle(bench)
    started = [task for task, state in states.items() if ".offload_" in task and state != "skipped"]
    if started:
        raise CommandFailed(f"Spark was started although there was nothing new: {', '.join(started)}")


CASES: dict[str, Callable[[int], Measurement]] = {
    "bronze-2x100k": bronze_2x100k,
    "recovery-100k": recovery_100k,
    "cycle-9-empty": cycle_9_empty,
    "audit-1h-10m": audit_1h_10m,
    "audit-9-clean": audit_9_clean,
}
