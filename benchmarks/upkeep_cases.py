"""The cases of upkeep: a run that only repairs the ledger, and the compaction of a day of small files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import timedelta

from benchmarks.bench_stack import BenchStack, bench_stack, yesterday
from benchmarks.measure import CommandFailed, run_at_once
from benchmarks.plan import Case, Plan
from benchmarks.results import Result
from benchmarks.window_cases import BRONZE, EXCHANGES, ROWS, without_layers_behind
from offload_core.config.settings import Settings
from offload_core.failpoints import Failpoint
from offload_core.ledger.session import connect

_QUARTER = timedelta(minutes=15)
_CYCLES_A_DAY = 96


def recovery(cases: Sequence[Case], plan: Plan) -> Iterable[Result]:
    """The run after one that died between publishing 100,000 rows and recording that: it repairs the ledger and reads no row."""
    (case,) = cases
    with bench_stack(airflow=False) as bench:
        without_layers_behind(bench)
        job = bench.job(bench.table(BRONZE[0]))
        peak_mb, costs = 0.0, []
        for number in range(plan.runs + 1):
            plan.say(f"{case.name}: run {number} of {plan.runs}")
            start = yesterday(2) + number * _QUARTER
            bench.feed(ROWS, start, start + _QUARTER, EXCHANGES[:1])
            bench.run_killed(job, Failpoint.AFTER_PUBLISH)
            bench.settle()
            if number == 0:
                peak_mb = run_at_once([job], bench.servers(), look_at_memory=True).peak_mb
            else:
                costs.append(run_at_once([job], bench.servers()))
        yield Result.of(case.name, "ours", ROWS, costs, peak_mb, bench.verdict(BRONZE[0]), plan.measured_at)


def compaction(cases: Sequence[Case], plan: Plan) -> Iterable[Result]:
    """A day that came in 96 commits of 100,000 rows, made into one day of large, sorted files: `offload maintain`, the whole process."""
    (case,) = cases
    with bench_stack(airflow=False) as bench:
        without_layers_behind(bench)
        table = bench.table(BRONZE[0])
        rows = _CYCLES_A_DAY * ROWS
        bench.feed(rows, yesterday(0), yesterday(24), EXCHANGES[:1])
        bench.run(bench.job(table, settings=Settings(max_rows_per_commit=ROWS)))
        bench.settle()
        as_it_was = bench.metadata(table.target)
        command = bench.command("maintain", table.name, "--yes")
        peak_mb, costs = 0.0, []
        for number in range(plan.runs + 1):
            plan.say(f"{case.name}: run {number} of {plan.runs}")
            # No file of the old state is gone: snapshots stay for three days.
            _reset(bench, table.target, as_it_was)
            if number == 0:
                peak_mb = run_at_once([command], bench.servers(), look_at_memory=True).peak_mb
            else:
                costs.append(run_at_once([command], bench.servers()))
            if bench.metadata(table.target) == as_it_was:
                raise CommandFailed("The maintenance has left the table as it was")
        yield Result.of(case.name, "ours", rows, costs, peak_mb, bench.verdict(table.name), plan.measured_at)


def _reset(bench: BenchStack, target: str, metadata: str) -> None:
    """Let the catalog point to an older state of a table."""
    namespace, _, name = target.rpartition(".")
    statement = "UPDATE iceberg_tables SET metadata_location = %s WHERE table_namespace = %s AND table_name = %s"
    with closing(connect(bench.connections.postgres)) as session:
        session.execute(statement, (metadata, namespace, name))
