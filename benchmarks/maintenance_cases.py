"""The maintenance cases: a run that only repairs the ledger, and the compaction of a day of small files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import timedelta

from benchmarks.bench_stack import BenchStack, bench_stack, yesterday
from benchmarks.measure import CommandFailed, run_at_once
from benchmarks.plan import BenchPlan, Case
from benchmarks.results import BenchResult
from benchmarks.window_cases import BRONZE, EXCHANGES, ROWS, drop_silver_views
from offload_core.config.settings import Settings
from offload_core.failpoints import Failpoint
from offload_core.ledger.session import connect

_QUARTER = timedelta(minutes=15)
_CYCLES_A_DAY = 96


def recovery(cases: Sequence[Case], plan: BenchPlan) -> Iterable[BenchResult]:
    """Measure the run after one that died between publishing and recording 100,000 rows.

    It repairs the ledger and reads no row.
    """
    (case,) = cases
    with bench_stack(airflow=False) as bench:
        drop_silver_views(bench)
        job = bench.job(bench.table(BRONZE[0]))
        peak_mb, costs = 0.0, []
        for number in range(plan.runs + 1):
            plan.say(f"{case.name}: run {number} of {plan.runs}")
            start = yesterday(2) + number * _QUARTER
            bench.feed(ROWS, start, start + _QUARTER, EXCHANGES[:1])
            bench.run_killed(job, Failpoint.AFTER_PUBLISH)
            bench.settle()
            if number == 0:
                peak_mb = run_at_once([job], bench.servers(), measure_memory=True).peak_mb
            else:
                costs.append(run_at_once([job], bench.servers()))
        yield BenchResult.of(case.name, "ours", ROWS, costs, peak_mb, bench.verdict(BRONZE[0]), plan.measured_at)


def compaction(cases: Sequence[Case], plan: BenchPlan) -> Iterable[BenchResult]:
    """Measure the compaction of a day with 96 commits of 100,000 rows: `offload maintain`, the whole process."""
    (case,) = cases
    with bench_stack(airflow=False) as bench:
        drop_silver_views(bench)
        table = bench.table(BRONZE[0])
        rows = _CYCLES_A_DAY * ROWS
        bench.feed(rows, yesterday(0), yesterday(24), EXCHANGES[:1])
        bench.run(bench.job(table, settings=Settings(max_rows_per_commit=ROWS)))
        bench.settle()
        before = bench.metadata(table.target)
        command = bench.command("maintain", table.name, "--yes")
        peak_mb, costs = 0.0, []
        for number in range(plan.runs + 1):
            plan.say(f"{case.name}: run {number} of {plan.runs}")
            # All files of the old state still exist: snapshots stay for three days.
            _reset(bench, table.target, before)
            if number == 0:
                peak_mb = run_at_once([command], bench.servers(), measure_memory=True).peak_mb
            else:
                costs.append(run_at_once([command], bench.servers()))
            if bench.metadata(table.target) == before:
                raise CommandFailed("The maintenance has not changed the table")
        yield BenchResult.of(case.name, "ours", rows, costs, peak_mb, bench.verdict(table.name), plan.measured_at)


def _reset(bench: BenchStack, target: str, metadata: str) -> None:
    """Point the catalog to an older state of a table."""
    namespace, _, name = target.rpartition(".")
    statement = "UPDATE iceberg_tables SET metadata_location = %s WHERE table_namespace = %s AND table_name = %s"
    with closing(connect(bench.connections.postgres)) as session:
        session.execute(statement, (metadata, namespace, name))
