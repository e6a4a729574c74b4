"""The cases of the audit: an hour of ten million rows read from both tiers, and the everyday audit of all nine tables."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta

from benchmarks.bench_stack import BenchStack, bench_stack, hours_ago
from benchmarks.measure import Measurement, run_at_once
from offload_core.clickhouse import ClickHouse, quote_table
from offload_core.connections import load_connections
from offload_core.ledger_session import connect
from offload_core.source_query import format_time
from offload_core.table_config import DEFAULT_TABLES

_HOUR = timedelta(hours=1)
_LARGE = 10_000_000
_EVERYDAY = 400_000
"""Rows of an hour and bronze table: 100,000 in each quarter."""
_BRONZE = ("bronze_trades_binance", "bronze_trades_kraken")


def audit_1h_10m(runs: int) -> Measurement:
    """One hour of 10 million rows of one table, compared from the data of both tiers: `offload audit`, the whole process."""
    with bench_stack(airflow=False) as bench:
        table, start = _BRONZE[0], _full_hour(3)
        with closing(_client(bench)) as client:
            # Silver and gold are no part of this.
            client.command("DROP VIEW silver_trades_from_binance SYNC")
        # An hour of the audit begins five minutes before that of the clock.
        _feed(bench, table, _LARGE, start - timedelta(minutes=5))
        bench.run(*bench.job(bench.table(table)))
        span = ["--from", start.isoformat(), "--to", (start + _HOUR / 2).isoformat()]
        command = [str(bench.layout.checkout / "bin" / "offload"), "audit", table, *span]
        costs = []
        for number in range(runs + 1):
            _forget_audits(bench)
            cost = run_at_once([command], bench.environ, bench.servers())
            if number:  # the first run warms the page cache
                costs.append(cost)
        return Measurement.of("audit-1h-10m", "ours", _LARGE, costs, parity=bench.is_right(table))


def audit_9_clean(runs: int) -> Measurement:
    """The hourly audit of all nine tables, six hours of everyday volume, when the hours before were audited an hour ago."""
    with bench_stack(airflow=False) as bench:
        hours = 8
        command = [str(bench.layout.checkout / "bin" / "offload"), "audit"]
        costs = []
        for table in _BRONZE:  # so that a day's candle has closed, whatever the time is
            _feed(bench, table, 1_000, _full_hour(48))
        for number in range(hours + runs):
            start = _full_hour(hours + runs + 2 - number) - timedelta(minutes=5)
            for table in _BRONZE:
                _feed(bench, table, _EVERYDAY, start)
            if number + 1 < hours:
                continue
            for config in DEFAULT_TABLES:
                bench.run(*bench.job(config))
            # All of this lies in the past: the candle of a day that is over had closed before, and these trades are late for it.
            days = ["--from", (start - 24 * _HOUR).isoformat(), "--to", (start + _HOUR).isoformat()]
            bench.offload("repair", "gold_ohlcv_1d", *days, "--yes")
            cost = run_at_once([command], bench.environ, bench.servers())
            if number >= hours:  # before that, no hour had been audited
                costs.append(cost)
        return Measurement.of("audit-9-clean", "ours", 6 * 4 * _EVERYDAY, costs, parity=bench.is_right())


def _full_hour(hours: int) -> datetime:
    return hours_ago(hours).replace(minute=0, second=0)


def _feed(bench: BenchStack, table: str, rows: int, start: datetime) -> None:
    """Spread trades evenly over the hour from `start` on."""
    step = _HOUR // rows // timedelta(microseconds=1)
    number = f"toUInt64({int(start.timestamp())}) * 1000000 + number * {step} + 1"
    with closing(_client(bench)) as client:
        client.command(
            f"INSERT INTO {quote_table(table)} (symbol, trade_id, side, price, quantity, exchange_timestamp, sequence_number) "  # noqa: S608
            f"SELECT concat('S', toString(number % 500)), toString({number}), if(number % 2, 'buy', 'sell'), "
            f"toDecimal128(cityHash64(number) % 1000000, 8) / 7, toDecimal128(number % 1000, 8) / 3, "
            f"toDateTime64('{format_time(start)}', 6, 'UTC') + toIntervalMicrosecond(number * {step} + 1), {number} FROM numbers({rows})"
        )


def _client(bench: BenchStack) -> ClickHouse:
    return ClickHouse(load_connections(bench.environ).clickhouse, timeout_seconds=600)


def _forget_audits(bench: BenchStack) -> None:
    with closing(connect(load_connections(bench.environ).postgres)) as session:
        session.execute("DELETE FROM offload_audits")
