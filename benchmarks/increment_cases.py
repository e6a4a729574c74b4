"""The cases of size: the same 100,000 new rows into tables with 0, 1, 10 and 100 million existing rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from benchmarks.bench_stack import BenchStack, bench_stack, yesterday
from benchmarks.loads import Load
from benchmarks.measure import Cost, run_at_once
from benchmarks.plan import BenchPlan, Case
from benchmarks.results import BenchResult, ParityVerdict
from benchmarks.window_cases import BRONZE, ROWS
from offload_core.config.tables import TableConfig
from offload_core.source.queries import format_time
from offload_core.source.quoting import quote_table

EMPTY = "increment-into-empty"
SIZES = {EMPTY: 0, "increment-into-1m": 1_000_000, "increment-into-10m": 10_000_000, "increment-into-100m": 100_000_000}
_DAYS = 5
"""The existing rows are from the five days before yesterday."""
_QUARTER = timedelta(minutes=15)
_MICROSECOND = timedelta(microseconds=1)
_INSERT_ROWS = 5_000_000


def increments(cases: Sequence[Case], plan: BenchPlan) -> Iterable[BenchResult]:
    """Measure the requested sizes in turn, always with the empty table, because the result is a ratio to it."""
    names = [name for name in SIZES if name == EMPTY or name in {case.name for case in cases}]
    with bench_stack(airflow=False) as bench:
        tables = {name: [_table(bench, name, number) for number in _numbers(name, plan)] for name in names}
        bench.init(*(table for each in tables.values() for table in each))
        for name in names:
            if SIZES[name]:
                plan.say(f"{name}: inserting and moving {SIZES[name]:,} rows")
                _fill(bench, tables[name][0], SIZES[name])
        costs: dict[str, list[Cost]] = {name: [] for name in names}
        peaks = dict.fromkeys(names, 0.0)
        verdicts: dict[str, list[ParityVerdict]] = {name: [] for name in names}
        for number in range(plan.runs + 1):
            for name in names:
                plan.say(f"{name}: run {number} of {plan.runs}")
                load = _feed(bench, tables[name][min(number, len(tables[name]) - 1)], number)
                command = bench.job(load.table, load.end)
                if number == 0:
                    peaks[name] = run_at_once([command], bench.servers(), measure_memory=True).peak_mb
                else:
                    costs[name].append(run_at_once([command], bench.servers()))
                verdicts[name].append(load.verdict(bench, bench.metadata(load.table.target)))
        for name in names:
            verdict = ParityVerdict.of_all(verdicts[name])
            yield BenchResult.of(name, "ours", ROWS, costs[name], peaks[name], verdict, plan.measured_at)


def _numbers(name: str, plan: BenchPlan) -> range:
    """The numbers of a size's tables: one table for all runs, except that each run needs another empty one."""
    return range(plan.runs + 1 if name == EMPTY else 1)


def _table(bench: BenchStack, name: str, number: int) -> TableConfig:
    """Create a bronze table for one case."""
    pattern = bench.table(BRONZE[0])
    new = f"{name.replace('-', '_')}_{number}"
    with bench.clickhouse() as client:
        client.command(f"CREATE TABLE {quote_table(new)} AS {quote_table(pattern.source)}")
    return pattern.model_copy(update={"source": new, "target": f"cold.{new}"})


def _fill(bench: BenchStack, table: TableConfig, rows: int) -> None:
    """Fill a table with existing rows, in both tiers."""
    start = yesterday(0) - timedelta(days=_DAYS)
    for begin in range(0, rows, _INSERT_ROWS):
        _insert(bench, table, begin, min(_INSERT_ROWS, rows - begin), start, timedelta(days=_DAYS) / rows)
    bench.settle()
    bench.run(bench.job(table))


def _feed(bench: BenchStack, table: TableConfig, number: int) -> Load:
    """Insert the rows of one quarter of an hour, computed in the same way for every table, so that all get the same."""
    start = yesterday(2) + number * _QUARTER
    _insert(bench, table, 0, ROWS, start, _QUARTER / ROWS)
    bench.settle()
    return Load(table, start - _MICROSECOND, start + _QUARTER - _MICROSECOND, ROWS, number)


def _insert(bench: BenchStack, table: TableConfig, begin: int, rows: int, start: datetime, step: timedelta) -> None:
    micros = step // _MICROSECOND
    sequence = f"toUInt64({int(start.timestamp())}) * 1000000 + number * {micros} + 1"
    with bench.clickhouse() as client:
        client.command(
            f"INSERT INTO {quote_table(table.source)} "  # noqa: S608 - quoted
            "(symbol, trade_id, side, price, quantity, exchange_timestamp, sequence_number) "
            f"SELECT concat('S', toString(number % 500)), toString({sequence}), if(number % 2, 'buy', 'sell'), "
            f"toDecimal128(cityHash64(number) % 1000000, 8) / 7, toDecimal128(number % 1000, 8) / 3, "
            f"toDateTime64('{format_time(start)}', 6, 'UTC') + toIntervalMicrosecond(number * {micros}), {sequence} "
            f"FROM numbers({begin}, {rows})"
        )
