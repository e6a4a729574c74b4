"""The cases that need Airflow: a whole cycle of all nine tables, from trigger to success."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone

from benchmarks.bench_stack import BenchStack, bench_stack, yesterday
from benchmarks.measure import CommandFailed, Cost, Processes, measure, peak_while
from benchmarks.plan import Case, Plan
from benchmarks.results import Result
from benchmarks.window_cases import BRONZE, EXCHANGES, ROWS
from devstack.stack.demo import DAG_ID
from offload_core.config.settings import SETTINGS_VARIABLE

_RUN_SECONDS = 300.0
_PARSE_SECONDS = 120.0
_ASK_SECONDS = 1.0
_DAY = timedelta(days=1)


def full_cycle(cases: Sequence[Case], plan: Plan) -> Iterable[Result]:
    """Nine tables with something new each: 100,000 rows per bronze table, twice that in silver, and closed candles of all six lengths."""
    (case,) = cases
    with bench_stack(airflow=True) as bench:
        _start_dag(bench)
        with bench.clickhouse() as client:
            for table in BRONZE:  # each run has a day of its own, so that the candles of a day are new as well
                client.command(f"ALTER TABLE {table} REMOVE TTL")
        costs, peak_mb, airflow, left = [], 0.0, bench.airflow(), bench.left_running()
        for number in range(plan.runs + 1):
            plan.say(f"{case.name}, ours: run {number} of {plan.runs}")
            start = yesterday(12) - (plan.runs - number) * _DAY
            bench.feed(ROWS, start, start + timedelta(minutes=15), EXCHANGES)
            bench.settle()
            left.wait_for_end()
            if number == 0:
                peak_mb = peak_while(lambda: _all_moved(bench), lambda: [*airflow, *left()])
            else:
                costs.append(_measured_cycle(bench, lambda: [*airflow, *left()]))
        verdict = bench.verdict()
        yield Result.of(case.name, "ours", 2 * ROWS, costs, peak_mb, verdict, plan.measured_at)


def empty_cycle(cases: Sequence[Case], plan: Plan) -> Iterable[Result]:
    """Nine tables with nothing new: no task may start a JVM."""
    (case,) = cases
    with bench_stack(airflow=True) as bench:
        bench.feed(1_000, yesterday(-6), yesterday(18), EXCHANGES)
        _start_dag(bench)
        _cycle(bench)
        bench.settle()
        airflow, left, costs = bench.airflow(), bench.left_running(), []
        left.wait_for_end()
        peak_mb = peak_while(lambda: _none_moved(bench), lambda: [*airflow, *left()])
        for number in range(plan.runs):
            plan.say(f"{case.name}, ours: run {number + 1} of {plan.runs}")
            costs.append(_measured_cycle(bench, lambda: [*airflow, *left()], empty=True))
        yield Result.of(case.name, "ours", 0, costs, peak_mb, bench.verdict(), plan.measured_at)


def _start_dag(bench: BenchStack) -> None:
    """Switch the DAG on, with a schedule that starts nothing by itself for almost an hour."""
    api = bench.api
    api.wait_for_dag(DAG_ID, 120)
    schedule = f"{(datetime.now(timezone.utc) - timedelta(minutes=2)).minute} * * * *"
    api.set_variable(SETTINGS_VARIABLE, json.dumps({"schedule": schedule}))
    deadline = time.monotonic() + _PARSE_SECONDS
    while schedule not in json.dumps(api.summary(DAG_ID)):
        if time.monotonic() > deadline:
            raise CommandFailed(f"Airflow has not read {DAG_ID} again after {_PARSE_SECONDS} seconds")
        time.sleep(0.5)
    api.unpause(DAG_ID)
    # Airflow at once starts the run of the interval that is just over, and may have one of the old schedule to make up for first: a run
    # that is still at work when rows are fed takes some of them away.
    deadline = time.monotonic() + _PARSE_SECONDS
    while _is_due(bench) or (newest := api.newest_run(DAG_ID)) is None:
        if time.monotonic() > deadline:
            raise CommandFailed(f"Airflow starts no run of {DAG_ID}")
        time.sleep(0.5)
    _finish(bench, newest)


def _is_due(bench: BenchStack) -> bool:
    """Whether a run of Airflow's own is about to start, or at work: with one at work it names no moment for the next."""
    due = bench.api.next_due(DAG_ID)
    return due is None or due <= datetime.now(timezone.utc)


def _measured_cycle(bench: BenchStack, processes: Processes, *, empty: bool = False) -> Cost:
    """A cycle's cost; its wall time from the trigger to the end that Airflow has recorded, since asking for it takes time by itself."""
    wall = 0.0

    def work() -> None:
        nonlocal wall
        began = datetime.now(timezone.utc)
        run_id = _none_moved(bench) if empty else _all_moved(bench)
        wall = (bench.api.ended(DAG_ID, run_id) - began).total_seconds()

    cost = measure(work, processes, bench.servers())
    return Cost(wall, cost.cpu_s, cost.server_cpu_s)


def _cycle(bench: BenchStack) -> str:
    run_id = bench.api.trigger(DAG_ID)
    time.sleep(_ASK_SECONDS)
    _finish(bench, run_id)
    return run_id


def _finish(bench: BenchStack, run_id: str) -> None:
    """Wait for a run's success. Seldom asked for: each answer costs Airflow some of the time that is measured."""
    api, deadline = bench.api, time.monotonic() + _RUN_SECONDS
    while (state := api.state(DAG_ID, run_id)) not in ("success", "failed") and time.monotonic() < deadline:
        time.sleep(_ASK_SECONDS)
    if state != "success":
        raise CommandFailed(f"{run_id} ended as {state}; see the logs of Airflow's tasks")


def _cycle_of(bench: BenchStack, wanted: str, else_told: str) -> str:
    """A cycle whose Spark tasks must all end in one state."""
    run_id = _cycle(bench)
    states = bench.api.task_states(DAG_ID, run_id)
    others = {task: state for task, state in states.items() if ".offload_" in task and state != wanted}
    if others:
        told = "\n".join(_last_words(bench, run_id, task.replace(".offload_", ".wait_")) for task in others)
        raise CommandFailed(f"{else_told}: {others}\n{told}")
    return run_id


def _last_words(bench: BenchStack, run_id: str, task_id: str) -> str:
    """The end of a task's log."""
    folder = bench.layout.home / "logs" / "airflow" / f"dag_id={DAG_ID}" / f"run_id={run_id}" / f"task_id={task_id}"
    return "\n".join(path.read_text()[-2_000:] for path in sorted(folder.glob("*.log")))


def _all_moved(bench: BenchStack) -> str:
    return _cycle_of(bench, "success", "There was something new, and it was not moved")


def _none_moved(bench: BenchStack) -> str:
    return _cycle_of(bench, "skipped", "Spark was started although there was nothing new")
