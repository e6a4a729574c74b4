"""The cases that every route supports: rows of bronze tables from ClickHouse to Iceberg, by a whole process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from benchmarks.bench_stack import BenchStack, bench_stack, yesterday
from benchmarks.loads import Load
from benchmarks.plan import BenchPlan, Case
from benchmarks.results import BenchResult
from benchmarks.routes import INCREMENT_ROUTES, ROUTES
from benchmarks.side_by_side import measure_routes
from offload_core.source.quoting import quote_table

BRONZE = ("bronze_trades_binance", "bronze_trades_kraken")
EXCHANGES = ("binance", "kraken")
ROWS = 100_000
_QUARTER = timedelta(minutes=15)
_JUST_BEFORE = timedelta(microseconds=1)
WINDOWS = {"window-100k": 100_000, "window-1m": 1_000_000, "window-5m": 5_000_000, "window-10m": 10_000_000}


def windows(cases: Sequence[Case], plan: BenchPlan) -> Iterable[BenchResult]:
    """Measure one bronze table's window, each time into an empty table."""
    for case in cases:
        rows = WINDOWS[case.name]
        with bench_stack(airflow=False) as bench:
            drop_silver_views(bench)
            table = bench.table(BRONZE[0])
            # Half of yesterday is in one partition, which routes that cannot split at midnight need.
            start, end = yesterday(6), yesterday(18)
            bench.feed(rows, start, end, EXCHANGES[:1])
            with bench.clickhouse() as client:
                client.command(f"OPTIMIZE TABLE {quote_table(table.source)} FINAL")
            bench.settle()

            def loads(number: int) -> list[Load]:
                return [Load(table, start - _JUST_BEFORE, end, rows, number)]  # noqa: B023 - used within this pass

            yield from measure_routes(bench, case, plan, ROUTES, loads)


def both_bronze(cases: Sequence[Case], plan: BenchPlan) -> Iterable[BenchResult]:
    """Measure both bronze tables in parallel, with 100,000 new rows each."""
    (case,) = cases
    with bench_stack(airflow=False) as bench:
        tables = [bench.table(name) for name in BRONZE]

        def loads(number: int) -> list[Load]:
            start = yesterday(2) + number * _QUARTER
            end = start + _QUARTER - _JUST_BEFORE
            bench.feed(ROWS, start, end, EXCHANGES)
            bench.settle()
            return [Load(table, start - _JUST_BEFORE, end, ROWS, number) for table in tables]

        yield from measure_routes(bench, case, plan, INCREMENT_ROUTES, loads)


def drop_silver_views(bench: BenchStack) -> None:
    """Drop the views that fill silver and gold, so that inserts fill only bronze."""
    with bench.clickhouse() as client:
        for exchange in EXCHANGES:
            client.command(f"DROP VIEW silver_trades_from_{exchange} SYNC")
