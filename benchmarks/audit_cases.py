"""The audit cases: an hour of ten million rows read from both tiers, and the everyday audit of all nine tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import datetime, timedelta

from benchmarks.bench_stack import BenchStack, bench_stack, hours_ago
from benchmarks.measure import run_at_once
from benchmarks.plan import BenchPlan, Case
from benchmarks.results import BenchResult
from benchmarks.window_cases import BRONZE, drop_silver_views
from offload_core.config.tables import DEFAULT_TABLES
from offload_core.ledger.session import connect
from offload_core.source.queries import format_time
from offload_core.source.quoting import quote_table

_HOUR = timedelta(hours=1)
_LARGE = 10_000_000
_EVERYDAY = 400_000
"""Rows per hour and bronze table: 100,000 in each quarter of an hour."""


def audit_1h_10m(cases: Sequence[Case], plan: BenchPlan) -> Iterable[BenchResult]:
    """Compare one hour of 10 million rows of one table in both tiers: `offload audit`, the whole process."""
    (case,) = cases
    with bench_stack(airflow=False) as bench:
        table, start = BRONZE[0], _full_hour(3)
        drop_silver_views(bench)
        # An hour of the audit begins five minutes before the hour of the clock.
        _feed(bench, table, _LARGE, start - timedelta(minutes=5))
        bench.run(bench.job(bench.table(table)))
        bench.settle()
        command = bench.command("audit", table, "--from", start.isoformat(), "--to", (start + _HOUR / 2).isoformat())
        peak_mb, costs = 0.0, []
        for number in range(plan.runs + 1):
            plan.say(f"{case.name}: run {number} of {plan.runs}")
            _forget_audits(bench)
            if number == 0:
                peak_mb = run_at_once([command], bench.servers(), measure_memory=True).peak_mb
            else:
                costs.append(run_at_once([command], bench.servers()))
        yield BenchResult.of(case.name, "ours", _LARGE, costs, peak_mb, bench.verdict(table), plan.measured_at)


def audit_9_clean(cases: Sequence[Case], plan: BenchPlan) -> Iterable[BenchResult]:
    """Audit all nine tables hourly: six hours of everyday volume, of which all but the last were audited before."""
    (case,) = cases
    with bench_stack(airflow=False) as bench:
        hours = 8
        command = bench.command("audit")
        peak_mb, costs = 0.0, []
        for table in BRONZE:  # so that a daily candle has closed at any time of day
            _feed(bench, table, 1_000, _full_hour(48))
        for number in range(hours + plan.runs):
            plan.say(f"{case.name}: hour {number + 1} of {hours + plan.runs}")
            start = _full_hour(hours + plan.runs + 2 - number) - timedelta(minutes=5)
            for table in BRONZE:
                _feed(bench, table, _EVERYDAY, start)
            if number + 1 < hours:
                continue
            for config in DEFAULT_TABLES:
                bench.run(bench.job(config))
            # The trades are in the past, after the daily candle has closed: it needs a repair.
            days = ["--from", (start - 24 * _HOUR).isoformat(), "--to", (start + _HOUR).isoformat()]
            bench.offload("repair", "gold_ohlcv_1d", *days, "--yes")
            bench.settle()
            if number < hours:  # the first audit, before which no hour was audited
                peak_mb = run_at_once([command], bench.servers(), measure_memory=True).peak_mb
            else:
                costs.append(run_at_once([command], bench.servers()))
        yield BenchResult.of(case.name, "ours", 6 * 4 * _EVERYDAY, costs, peak_mb, bench.verdict(), plan.measured_at)


def _full_hour(hours: int) -> datetime:
    return hours_ago(hours).replace(minute=0, second=0)


def _feed(bench: BenchStack, table: str, rows: int, start: datetime) -> None:
    """Insert trades that are evenly spread over the hour from `start` on."""
    step = _HOUR // rows // timedelta(microseconds=1)
    number = f"toUInt64({int(start.timestamp())}) * 1000000 + number * {step} + 1"
    with bench.clickhouse() as client:
        client.command(
            f"INSERT INTO {quote_table(table)} "  # noqa: S608 - quoted
            "(symbol, trade_id, side, price, quantity, exchange_timestamp, sequence_number) "
            f"SELECT concat('S', toString(number % 500)), toString({number}), if(number % 2, 'buy', 'sell'), "
            f"toDecimal128(cityHash64(number) % 1000000, 8) / 7, toDecimal128(number % 1000, 8) / 3, "
            f"toDateTime64('{format_time(start)}', 6, 'UTC') + toIntervalMicrosecond(number * {step} + 1), {number} "
            f"FROM numbers({rows})"
        )


def _forget_audits(bench: BenchStack) -> None:
    with closing(connect(bench.connections.postgres)) as session:
        session.execute("DELETE FROM offload_audits")
