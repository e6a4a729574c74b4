"""Real trades arrive with all their digits; a wrong file is refused before anything is inserted."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from devstack.market_feed import insert_history, insert_replay, read_trades, shift_to
from offload_core.errors import FixConfiguration
from tests.support.checkout import CHECKOUT

REAL_TRADES = CHECKOUT.parent / "shared" / "data"
FILES = {"binance": REAL_TRADES / "binance_xrpeth_trades.csv", "kraken": REAL_TRADES / "kraken_bcheur_trades.csv"}
HEADER = "exchange,symbol,trade_id,side,price,quantity,exchange_timestamp_ms"
NOW = datetime.now(timezone.utc).replace(microsecond=0)


def file_of(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "trades.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


@pytest.mark.integration
@pytest.mark.parametrize("exchange", FILES)
def test_real_trades_are_in_the_hot_tier_digit_by_digit(hot_tier: Client, exchange: str) -> None:
    path = FILES[exchange]
    if not path.exists():
        pytest.skip(f"the real trades are not here: {path.name} is missing from {path.parent}")
    trades = read_trades(path)
    shift = shift_to(trades, NOW - timedelta(hours=1))
    assert sum(batch.num_rows for _, batch in insert_replay(hot_tier, trades, shift, NOW)) == trades.num_rows

    for table in (f"bronze_trades_{exchange}", "silver_trades"):
        query = (
            "SELECT exchange, symbol, trade_id, side, toString(price), toString(quantity), "
            "toUnixTimestamp64Micro(exchange_timestamp) FROM {table:Identifier} ORDER BY sequence_number"
        )
        stored = hot_tier.query(query, parameters={"table": table}).result_rows
        expected = []
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                microseconds = int(row["exchange_timestamp_ms"]) * 1000 + shift // timedelta(microseconds=1)
                numbers = (Decimal(row["price"]), Decimal(row["quantity"]))
                expected.append(
                    (row["exchange"], row["symbol"], row["trade_id"], row["side"] or None, *numbers, microseconds)
                )
        found = [(*row[:4], Decimal(row[4]), Decimal(row[5]), row[6]) for row in stored]
        assert sorted(found, key=str) == sorted(expected, key=str)
        assert [row[6] for row in found] == sorted(row[6] for row in expected)


@pytest.mark.integration
def test_a_file_is_replayed_only_once(hot_tier: Client, tmp_path: Path) -> None:
    one, two = (f"kraken,A,{number},,1,1,1700000000000" for number in (1, 2))
    first = read_trades(file_of(tmp_path, one))
    assert [exchange for exchange, _ in insert_replay(hot_tier, first, shift_to(first, NOW), NOW)] == ["kraken"]
    both = read_trades(file_of(tmp_path, one, two))
    with pytest.raises(FixConfiguration, match="already contains 1 of the 2 kraken trades"):
        list(insert_replay(hot_tier, both, timedelta(0), NOW))
    assert hot_tier.command("SELECT count() FROM bronze_trades_kraken") == 1


@pytest.mark.integration
def test_sequence_numbers_rise_through_replay_and_history(hot_tier: Client, tmp_path: Path) -> None:
    list(insert_history(hot_tier, ["binance"], 500, NOW - timedelta(hours=2), NOW - timedelta(hours=1), 1))
    lines = [f"binance,A,{number},buy,1.5,2,{1700000000000 - number}" for number in range(5)]
    trades = read_trades(file_of(tmp_path, *lines))
    [(_, replayed)] = insert_replay(hot_tier, trades, shift_to(trades, NOW), NOW)
    list(insert_history(hot_tier, ["binance"], 500, NOW - timedelta(hours=3), NOW - timedelta(hours=2), 1))
    assert replayed["trade_id"].to_pylist() == ["4", "3", "2", "1", "0"]
    query = (
        "SELECT count(), uniqExact(sequence_number), uniqExact((symbol, trade_id)), max(exchange_timestamp) "
        "FROM silver_trades"
    )
    assert hot_tier.query(query, query_tz="UTC", tz_mode="aware").result_rows == [(1005, 1005, 1005, NOW)]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("binance,A,1,buy,0.123456789,1,1700000000000", "price|rescal|precision|scale|decimal"),
        ("binance,A,1,buy,,1,1700000000000", "price is empty in 1 rows"),
        ("binance,A,1,hold,1,1,1700000000000", "side is hold. Allowed: buy, sell"),
        ("nyse,A,1,buy,1,1,1700000000000", "exchange is nyse. Allowed: binance, kraken"),
        ("binance,A,1,buy,1,1,2026-11-20", "It needs the columns"),
    ],
)
def test_a_wrong_value_is_refused_and_named(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(FixConfiguration, match=problem):
        read_trades(file_of(tmp_path, "binance,A,0,buy,1,1,1700000000000", line))


def test_a_file_that_repeats_a_trade_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FixConfiguration, match="1 rows repeat a trade id"):
        read_trades(file_of(tmp_path, *["kraken,A,1,,1,1,1700000000000"] * 2))


def test_a_missing_file_or_column_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FixConfiguration, match="needs the columns exchange, symbol"):
        read_trades(tmp_path / "absent.csv")
    with pytest.raises(FixConfiguration, match="needs the columns exchange, symbol"):
        read_trades(file_of(tmp_path, "1", header="trade_id"))
    with pytest.raises(FixConfiguration, match="contains no trades"):
        read_trades(file_of(tmp_path))
