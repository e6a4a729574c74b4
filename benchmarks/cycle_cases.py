"""The cases that need Airflow: a whole cycle of all nine tables, from trigger to success."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone

from benchmarks.bench_stack import BenchStack, bench_stack, yesterday
from benchmarks.measure import CommandFailed, Cost, Processes, measure, peak_while
from benchmarks.plan import BenchPlan, Case
from benchmarks.results import BenchResult
from benchmarks.window_cases import BRONZE, EXCHANGES, ROWS
from devstack.stack.demo import DAG_ID
from offload_core.config.settings import SETTINGS_VARIABLE

_RUN_SECONDS = 300.0
_PARSE_SECONDS = 120.0
_POLL_SECONDS = 1.0
_DAY = timedelta(days=1)


def full_cycle(cases: Sequence[Case], plan: BenchPlan) -> Iterable[BenchResult]:
    """Measure cycles with new rows in all nine tables.

    Each bronze table gets 100,000 rows, silver twice that, and candles of all six lengths close.
    """
    (case,) = cases
    with bench_stack(airflow=True) as bench:
        _start_dag(bench)
        with bench.clickhouse() as client:
            for table in BRONZE:  # each run has its own day, so that daily candles are new too
                client.command(f"ALTER TABLE {table} REMOVE TTL")
        costs, peak_mb, airflow, left = [], 0.0, bench.airflow(), bench.left_running()
        for number in range(plan.runs + 1):
            plan.say(f"{case.name}, ours: run {number} of {plan.runs}")
            start = yesterday(12) - (plan.runs - number) * _DAY
            bench.feed(ROWS, start, start + timedelta(minutes=15), EXCHANGES)
            bench.settle()
            left.wait_for_end()
            if number == 0:
                peak_mb = peak_while(lambda: _cycle_with_rows(bench), lambda: [*airflow, *left()])
            else:
                costs.append(_measured_cycle(bench, lambda: [*airflow, *left()]))
        verdict = bench.verdict()
        yield BenchResult.of(case.name, "ours", 2 * ROWS, costs, peak_mb, verdict, plan.measured_at)


def empty_cycle(cases: Sequence[Case], plan: BenchPlan) -> Iterable[BenchResult]:
    """Measure cycles without new rows, in which no task may start a JVM."""
    (case,) = cases
    with bench_stack(airflow=True) as bench:
        bench.feed(1_000, yesterday(-6), yesterday(18), EXCHANGES)
        _start_dag(bench)
        _cycle(bench)
        bench.settle()
        airflow, left, costs = bench.airflow(), bench.left_running(), []
        left.wait_for_end()
        peak_mb = peak_while(lambda: _cycle_without_rows(bench), lambda: [*airflow, *left()])
        for number in range(plan.runs):
            plan.say(f"{case.name}, ours: run {number + 1} of {plan.runs}")
            costs.append(_measured_cycle(bench, lambda: [*airflow, *left()], empty=True))
        yield BenchResult.of(case.name, "ours", 0, costs, peak_mb, bench.verdict(), plan.measured_at)


def _start_dag(bench: BenchStack) -> None:
    """Unpause the DAG, with a schedule that starts no run for almost an hour."""
    api = bench.api
    api.wait_for_dag(DAG_ID, 120)
    schedule = f"{(datetime.now(timezone.utc) - timedelta(minutes=2)).minute} * * * *"
    api.set_variable(SETTINGS_VARIABLE, json.dumps({"schedule": schedule}))
    deadline = time.monotonic() + _PARSE_SECONDS
    while schedule not in json.dumps(api.summary(DAG_ID)):
        if time.monotonic() > deadline:
            raise CommandFailed(f"Airflow has not parsed {DAG_ID} again after {_PARSE_SECONDS} seconds")
        time.sleep(0.5)
    api.unpause(DAG_ID)
    # Airflow immediately starts the run of the last interval, perhaps after one of the old schedule. A run that is
    # still active when rows are inserted would move some of them.
    deadline = time.monotonic() + _PARSE_SECONDS
    while _is_due(bench) or (newest := api.newest_run(DAG_ID)) is None:
        if time.monotonic() > deadline:
            raise CommandFailed(f"Airflow starts no run of {DAG_ID}")
        time.sleep(0.5)
    _finish(bench, newest)


def _is_due(bench: BenchStack) -> bool:
    """Whether a scheduled run is due or active; during an active run, Airflow names no time for the next one."""
    due = bench.api.next_due(DAG_ID)
    return due is None or due <= datetime.now(timezone.utc)


def _measured_cycle(bench: BenchStack, processes: Processes, *, empty: bool = False) -> Cost:
    """Measure a cycle. Its wall time ends when Airflow has recorded the end, because polling takes time."""
    wall = 0.0

    def work() -> None:
        nonlocal wall
        began = datetime.now(timezone.utc)
        run_id = _cycle_without_rows(bench) if empty else _cycle_with_rows(bench)
        wall = (bench.api.ended(DAG_ID, run_id) - began).total_seconds()

    cost = measure(work, processes, bench.servers())
    return Cost(wall, cost.cpu_s, cost.server_cpu_s)


def _cycle(bench: BenchStack) -> str:
    run_id = bench.api.trigger(DAG_ID)
    time.sleep(_POLL_SECONDS)
    _finish(bench, run_id)
    return run_id


def _finish(bench: BenchStack, run_id: str) -> None:
    """Wait until a run succeeds. It polls rarely, because each answer costs Airflow some of the measured time."""
    api, deadline = bench.api, time.monotonic() + _RUN_SECONDS
    while (state := api.state(DAG_ID, run_id)) not in ("success", "failed") and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    if state != "success":
        raise CommandFailed(f"{run_id} ended as {state}; see the logs of Airflow's tasks")


def _cycle_with(bench: BenchStack, expected: str, message: str) -> str:
    """Run a cycle whose Spark tasks must all end in one state."""
    run_id = _cycle(bench)
    states = bench.api.task_states(DAG_ID, run_id)
    others = {task: state for task, state in states.items() if ".offload_" in task and state != expected}
    if others:
        logs = "\n".join(_log_tail(bench, run_id, task.replace(".offload_", ".wait_")) for task in others)
        raise CommandFailed(f"{message}: {others}\n{logs}")
    return run_id


def _log_tail(bench: BenchStack, run_id: str, task_id: str) -> str:
    """The end of a task's log."""
    folder = bench.layout.home / "logs" / "airflow" / f"dag_id={DAG_ID}" / f"run_id={run_id}" / f"task_id={task_id}"
    return "\n".join(path.read_text()[-2_000:] for path in sorted(folder.glob("*.log")))


def _cycle_with_rows(bench: BenchStack) -> str:
    return _cycle_with(bench, "success", "New rows were not moved")


def _cycle_without_rows(bench: BenchStack) -> str:
    return _cycle_with(bench, "skipped", "Spark was started although there were no new rows")
