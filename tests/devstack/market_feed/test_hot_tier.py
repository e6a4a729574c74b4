"""The hot tier in a real engine: DDL applied twice, late and unordered trades, reads of a window, expired rows."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from decimal import ROUND_DOWN, Decimal, localcontext
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devstack.market_feed import EXCHANGES, generate, insert
from tests.support.checkout import CHECKOUT

pytestmark = pytest.mark.integration

SQL = CHECKOUT / "include" / "sql" / "clickhouse"
INTERVALS = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
}
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
EIGHT = Decimal("0.00000001")
Trade = Mapping[str, Any]
Candle = tuple[object, ...]

MIDNIGHT = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
TRADE_COLUMNS = ("symbol", "trade_id", "side", "price", "quantity", "exchange_timestamp", "sequence_number")
_fresh = count()


def put(client: Client, exchange: str, trades: Sequence[Trade]) -> None:
    rows = [[trade[name] for name in TRADE_COLUMNS] for trade in trades]
    client.insert(f"bronze_trades_{exchange}", rows, column_names=TRADE_COLUMNS)


def trade(symbol: str, at: datetime, sequence: int, price: str = "1", quantity: str = "1") -> dict[str, Any]:
    return {
        "symbol": symbol,
        "trade_id": str(sequence),
        "side": "buy",
        "price": Decimal(price),
        "quantity": Decimal(quantity),
        "exchange_timestamp": at,
        "sequence_number": sequence,
    }


def expected_candles(trades: Iterable[Trade], interval: timedelta) -> dict[tuple[str, str, datetime], Candle]:
    """The candles of trades in any order, computed with Decimal arithmetic."""
    groups: dict[tuple[str, str, datetime], list[Trade]] = defaultdict(list)
    for row in trades:
        start = EPOCH + (row["exchange_timestamp"] - EPOCH) // interval * interval
        groups[row["exchange"], row["symbol"], start].append(row)
    candles = {}
    with localcontext() as exact:
        exact.prec = 200
        for key, rows in groups.items():
            rows.sort(key=lambda row: (row["exchange_timestamp"], row["sequence_number"]))
            prices = [row["price"] for row in rows]
            volume = sum((row["quantity"] for row in rows), Decimal(0))
            quote = sum((row["price"] * row["quantity"] for row in rows), Decimal(0))
            vwap = quote / volume if volume else prices[-1]
            candles[key] = (
                key[2] + interval,
                prices[0],
                max(prices),
                min(prices),
                prices[-1],
                volume,
                quote.quantize(EIGHT, ROUND_DOWN),
                vwap.quantize(EIGHT, ROUND_DOWN),
                len(rows),
            )
    return candles


def stored_candles(client: Client, name: str, symbol: str | None = None) -> dict[tuple[str, str, datetime], Candle]:
    query = (
        "SELECT exchange, symbol, window_start, "
        "window_end, open, high, low, close, volume, quote_volume, vwap, trade_count "
        "FROM {view:Identifier} WHERE {symbol:String} IN ('', symbol)"
    )
    values = {"view": f"ohlcv_{name}", "symbol": symbol or ""}
    rows = client.query(query, parameters=values, query_tz="UTC", tz_mode="aware").result_rows
    found = {(row[0], row[1], row[2]): tuple(row[3:]) for row in rows}
    assert len(found) == len(rows), "a candle came twice"
    return found


def rows_read(client: Client, table: str, column: str, low: datetime, high: datetime) -> int:
    """Rows in the granules that the engine would read for a window."""
    query = (
        "EXPLAIN ESTIMATE SELECT * FROM {table:Identifier} "
        "WHERE {column:Identifier} > {low:DateTime('UTC')} AND {column:Identifier} <= {high:DateTime('UTC')}"
    )
    values = {"table": table, "column": column, "low": f"{low:%Y-%m-%d %H:%M:%S}", "high": f"{high:%Y-%m-%d %H:%M:%S}"}
    return sum(int(row[3]) for row in client.query(query, parameters=values).result_rows)


def test_applying_the_statements_again_changes_nothing(
    hot_tier: Client, apply_hot_tier: Callable[[Client], None]
) -> None:
    def definitions() -> Sequence[Sequence[object]]:
        query = (
            "SELECT name, uuid, create_table_query FROM system.tables WHERE database = currentDatabase() ORDER BY name"
        )
        return hot_tier.query(query).result_rows

    put(hot_tier, "binance", [trade("A", MIDNIGHT, 1)])
    before = definitions()
    apply_hot_tier(hot_tier)
    assert definitions() == before
    assert len(before) == 2 + 3 + 6 * 3
    assert hot_tier.command("SELECT trade_count FROM ohlcv_1d") == 1


def test_a_line_ends_with_a_semicolon_exactly_where_a_statement_ends() -> None:
    for path in sorted(SQL.glob("*.sql")):
        code = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("--"))
        statements = [text for text in re.split(r";$", code, flags=re.MULTILINE) if text.strip()]
        assert statements, path.name
        assert code.rstrip().endswith(";"), path.name
        for statement in statements:
            assert re.match(r"\s*CREATE (TABLE|VIEW|MATERIALIZED VIEW) IF NOT EXISTS \w+\s", statement), statement
            assert ";" not in statement, statement
            assert "--" not in statement, statement


def test_the_six_candle_files_differ_only_in_their_interval() -> None:
    def normal(path: Path) -> str:
        name = path.stem.rpartition("_")[2]
        text = path.read_text().replace(f"ohlcv_{name}", "ohlcv")
        return re.sub(r"INTERVAL \d+ (MINUTE|HOUR|DAY)(?! *\n)|(?<=Candles of )[^:]+", "…", text.replace("400 DAY", ""))

    files = sorted(SQL.glob("3*_ohlcv_*.sql"))
    assert [path.stem.rpartition("_")[2] for path in files] == list(INTERVALS)
    assert len({normal(path) for path in files}) == 1


def test_candles_equal_those_computed_from_the_trades(hot_tier: Client) -> None:
    """Both exchanges, across midnight, later day first, and trades that come long after their candle was closed."""
    batches = [
        (exchange, batch)
        for exchange in EXCHANGES
        for batch in generate(
            exchange, 4_000, MIDNIGHT - timedelta(hours=3), MIDNIGHT + timedelta(hours=1), 3, None, 700
        )
    ]
    for exchange, batch in reversed(batches):
        insert(hot_tier, exchange, batch)
    trades = [row for _, batch in batches for row in batch.to_pylist()]
    for name, interval in INTERVALS.items():
        expected = expected_candles(trades, interval)
        assert len({start for _, _, start in expected}) >= 2
        assert stored_candles(hot_tier, name) == expected


def test_silver_contains_every_bronze_trade_with_its_truncated_value(hot_tier: Client) -> None:
    trades = []
    for exchange in EXCHANGES:
        for batch in generate(exchange, 2_000, MIDNIGHT - timedelta(hours=3), MIDNIGHT, 4):
            insert(hot_tier, exchange, batch)
            trades += batch.to_pylist()
    query = "SELECT exchange, symbol, trade_id, price, quantity, quote_quantity, sequence_number FROM silver_trades"
    with localcontext() as exact:
        exact.prec = 80
        expected = {
            (
                *(row[name] for name in ("exchange", "symbol", "trade_id", "price", "quantity")),
                (row["price"] * row["quantity"]).quantize(EIGHT, ROUND_DOWN),
                row["sequence_number"],
            )
            for row in trades
        }
    stored = hot_tier.query(query).result_rows
    assert len(stored) == len(trades)
    assert {tuple(row) for row in stored} == expected


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.integers(-86_400_000_000, 86_400_000_000),
            st.integers(1, 3),
            st.decimals(Decimal("0.00000001"), Decimal("99999999999999.99999999"), places=8),
            st.decimals(Decimal(0), Decimal("999999999999999.99999999"), places=8),
        ),
        min_size=1,
        max_size=12,
        unique_by=lambda row: row[0],
    ),
    cuts=st.integers(1, 4),
)
def test_any_trades_in_any_order_give_exact_candles(
    hot_tier: Client, rows: list[tuple[int, int, Decimal, Decimal]], cuts: int
) -> None:
    symbol = f"H{next(_fresh)}"
    trades = [
        {
            **trade(
                symbol, MIDNIGHT + timedelta(microseconds=offset // granularity), number, str(price), str(quantity)
            ),
            "exchange": "kraken",
        }
        for number, (offset, granularity, price, quantity) in enumerate(rows)
    ]
    for first in range(cuts):
        if part := trades[first::cuts]:
            put(hot_tier, "kraken", part)
    for name, interval in INTERVALS.items():
        assert stored_candles(hot_tier, name, symbol) == expected_candles(trades, interval)


def test_the_sequence_decides_open_and_close_within_a_microsecond(hot_tier: Client) -> None:
    at = MIDNIGHT + timedelta(seconds=5)
    greatest = 2**64 - 1
    put(hot_tier, "binance", [trade("A", at, greatest, "3"), trade("A", at, 2**63, "2")])
    put(hot_tier, "binance", [trade("A", at, 0, "1"), trade("A", at, 2**63 - 1, "9")])
    candle = stored_candles(hot_tier, "1m")["binance", "A", MIDNIGHT]
    assert candle[1:5] == (Decimal(1), Decimal(9), Decimal(1), Decimal(3))


def test_a_sum_of_more_digits_than_a_candle_has_is_an_error_and_not_a_wrong_number(hot_tier: Client) -> None:
    greatest = "9" * 30
    put(hot_tier, "binance", [trade("A", MIDNIGHT, 1, "0.00000001", greatest)])
    assert stored_candles(hot_tier, "1m")["binance", "A", MIDNIGHT][5] == Decimal(greatest)
    put(hot_tier, "binance", [trade("A", MIDNIGHT, 2, "0.00000001", greatest)])
    with pytest.raises(DatabaseError, match=r"(?i)overflow"):
        stored_candles(hot_tier, "1m")


@pytest.mark.parametrize(
    ("at", "price", "quantity", "constraint"),
    [
        ("1969-12-31T23:59:59.999999+00:00", "1", "1", "exchange_timestamp_in_range"),
        ("2100-01-01T00:00:00+00:00", "1", "1", "exchange_timestamp_in_range"),
        ("2026-11-20T00:00:00+00:00", "1" + "0" * 15, "1" + "0" * 15, "quote_quantity_fits"),
    ],
)
def test_a_trade_that_silver_cannot_represent_is_refused_completely(
    hot_tier: Client, at: str, price: str, quantity: str, constraint: str
) -> None:
    rows = [trade("A", MIDNIGHT, 1), trade("A", datetime.fromisoformat(at), 2, price, quantity)]
    with pytest.raises(DatabaseError, match=constraint):
        put(hot_tier, "kraken", rows)
    assert hot_tier.command("SELECT count() FROM bronze_trades_kraken") == 0
    assert hot_tier.command("SELECT count() FROM silver_trades") == 0


def test_reading_a_window_touches_only_its_own_granules(hot_tier: Client) -> None:
    for exchange in EXCHANGES:
        for batch in generate(exchange, 120_000, MIDNIGHT - timedelta(days=1), MIDNIGHT + timedelta(hours=6), 5):
            insert(hot_tier, exchange, batch)
    for table in ("bronze_trades_binance", "silver_trades", "ohlcv_1m_states"):
        hot_tier.command(f"OPTIMIZE TABLE {table} FINAL")
    low, high = MIDNIGHT - timedelta(hours=8), MIDNIGHT - timedelta(hours=8) + timedelta(minutes=15)

    def share(table: str, column: str) -> float:
        whole = rows_read(hot_tier, table, column, MIDNIGHT - timedelta(days=2), MIDNIGHT + timedelta(days=2))
        return rows_read(hot_tier, table, column, low, high) / whole

    assert share("bronze_trades_binance", "exchange_timestamp") < 0.15
    assert share("silver_trades", "exchange_timestamp") < 0.4
    assert share("ohlcv_1m", "window_start") < 0.3


def test_expired_rows_are_dropped_and_others_stay(hot_tier: Client, wait_until: Callable[..., None]) -> None:
    ages = {"bronze_trades_binance": (9, 5), "silver_trades": (33, 28), "ohlcv_1m_states": (440, 390)}
    for table in ages:
        hot_tier.command(f"ALTER TABLE {table} MODIFY SETTING merge_with_ttl_timeout = 0")
    for expired, _ in ages.values():
        put(hot_tier, "binance", [trade("OLD", MIDNIGHT - timedelta(days=expired), 1)])
    for _, kept in ages.values():
        put(hot_tier, "binance", [trade("KEPT", MIDNIGHT - timedelta(days=kept), 1)])
    put(hot_tier, "binance", [trade("NEW", MIDNIGHT, 1)])

    def oldest_day(table: str) -> object:
        column = "window_start" if table.startswith("ohlcv") else "exchange_timestamp"
        query = "SELECT toDate(min({column:Identifier})) FROM {table:Identifier}"
        return hot_tier.query(query, parameters={"column": column, "table": table}).result_rows[0][0]

    for table, (_, kept) in ages.items():
        day = (MIDNIGHT - timedelta(days=kept)).date()
        wait_until(lambda table=table, day=day: oldest_day(table) == day, seconds=60)
