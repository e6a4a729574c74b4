"""The properties of generated trades."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devstack.market_feed import EXCHANGES, MARKETS, MAX_LATENESS, TRADE_SCHEMA, FeedPosition, TradeStream, generate
from offload_core.errors import FixConfiguration

START = datetime(2026, 11, 19, 20, tzinfo=timezone.utc)
DAY = timedelta(days=1)


def whole(batches: Iterable[pa.Table]) -> pa.Table:
    return pa.concat_tables([TRADE_SCHEMA.empty_table(), *batches]).unify_dictionaries()


def fingerprint(trades: pa.Table) -> str:
    digest = hashlib.sha256()
    for row in trades.to_pylist():
        digest.update(repr(row).encode())
    return digest.hexdigest()


def microseconds(column: pa.ChunkedArray) -> np.ndarray:
    return column.cast(pa.int64()).to_numpy()


@pytest.fixture(scope="module")
def day() -> pa.Table:
    """Fifty thousand trades of one day on Binance."""
    return whole(generate("binance", 50_000, START, START + DAY, seed=11))


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_the_same_seed_and_arguments_give_the_same_rows(exchange: str) -> None:
    again = [fingerprint(whole(generate(exchange, 5_000, START, START + DAY, 7, batch_rows=1_500))) for _ in range(2)]
    assert again[0] == again[1]


def test_another_seed_gives_other_rows() -> None:
    one, two = (whole(generate("binance", 1_000, START, START + DAY, seed)) for seed in (1, 2))
    assert not one["price"].equals(two["price"])


def test_the_exchanges_differ_with_the_same_seed() -> None:
    one, two = (whole(generate(exchange, 1_000, START, START + DAY, 1)) for exchange in EXCHANGES)
    assert not one["exchange_timestamp"].equals(two["exchange_timestamp"])


@settings(max_examples=60, deadline=None)
@given(
    exchange=st.sampled_from(EXCHANGES),
    rows=st.integers(0, 2_000),
    span_us=st.one_of(st.integers(1, 1_000), st.integers(1, 400 * 86_400_000_000)),
    seed=st.integers(0, 2**63),
    batch_rows=st.integers(1, 2_500),
    held=st.sampled_from([0, 1, 2**52, 2**60]),
)
def test_every_history_has_the_guaranteed_properties(
    exchange: str, rows: int, span_us: int, seed: int, batch_rows: int, held: int
) -> None:
    batch_rows = max(batch_rows, rows // 20, 1)
    end = START + timedelta(microseconds=span_us)
    symbol = MARKETS[exchange][0].symbol
    position = FeedPosition(sequence=held, trade_ids={symbol: held})
    trades = whole(generate(exchange, rows, START, end, seed, position, batch_rows))
    trades.validate(full=True)
    assert trades.num_rows == rows
    assert trades.schema.equals(TRADE_SCHEMA)
    if not rows:
        return
    assert pc.unique(trades["exchange"]).to_pylist() == [exchange]
    happened = microseconds(trades["exchange_timestamp"])
    arrived = microseconds(trades["ingestion_timestamp"])
    sequence = trades["sequence_number"].to_numpy()
    bounds = pc.min_max(trades["exchange_timestamp"]).as_py()
    assert START <= bounds["min"] <= bounds["max"] < end
    assert (np.diff(arrived) >= 0).all()
    assert (arrived >= happened).all()
    assert (arrived - happened <= MAX_LATENESS / timedelta(microseconds=1)).all()
    assert arrived.max() <= (end - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1)
    assert sorted(sequence) == list(range(sequence.min(), sequence.min() + rows))
    assert sequence.min() > held
    assert (np.diff(happened[np.argsort(sequence)]) >= 0).all()
    keys = list(zip(trades["symbol"].to_pylist(), trades["trade_id"].to_pylist(), strict=True))
    assert len(set(keys)) == rows
    assert all(int(trade_id) > held for name, trade_id in keys if name == symbol)
    assert pc.min(trades["price"]).as_py() > 0
    assert pc.min(trades["quantity"]).as_py() > 0


def test_numbers_never_start_over_when_ttl_has_emptied_the_table() -> None:
    before = whole(generate("kraken", 10_000, START, START + DAY, 1))
    later = whole(generate("kraken", 10, START + 9 * DAY, START + 10 * DAY, 1))
    assert pc.min(later["sequence_number"]).as_py() > pc.max(before["sequence_number"]).as_py()
    assert min(map(int, later["trade_id"].to_pylist())) > max(map(int, before["trade_id"].to_pylist()))


def test_batches_stay_small_whatever_the_number_of_rows() -> None:
    sizes = [batch.num_rows for batch in generate("binance", 100_000, START, START + DAY, 1, batch_rows=10_000)]
    assert sum(sizes) == 100_000
    assert max(sizes) <= 11_000


def test_no_batch_spans_more_days_than_clickhouse_accepts_in_one_insert() -> None:
    for batch in generate("binance", 1_000, START, START + 365 * DAY, 1):
        bounds = pc.min_max(batch["exchange_timestamp"]).as_py()
        assert bounds["max"] - bounds["min"] <= 31 * DAY


def test_many_trades_share_a_microsecond(day: pa.Table) -> None:
    together = day.group_by("exchange_timestamp").aggregate([([], "count_all")])
    assert pc.max(together["count_all"]).as_py() >= 20
    assert pc.sum(pc.greater(together["count_all"], 1)).as_py() > 1_000


def test_some_trades_arrive_after_later_ones(day: pa.Table) -> None:
    overtaken = (np.diff(microseconds(day["exchange_timestamp"])) < 0).mean()
    assert 0.001 < overtaken < 0.2


def test_trades_come_in_bursts(day: pa.Table) -> None:
    per_minute = np.bincount(microseconds(day["exchange_timestamp"]) // 60_000_000 % 1_440, minlength=1_440)
    busiest = np.sort(per_minute)[-144:]
    assert busiest.sum() > 0.25 * per_minute.sum()


def test_prices_and_quantities_use_all_eight_decimals(day: pa.Table) -> None:
    for name in ("price", "quantity"):
        texts = [format(value, "f") for value in day[name].to_pylist()]
        assert any(not text.endswith("0") for text in texts)
        assert any(text.endswith("000000") for text in texts)
    quantities = day["quantity"].to_pylist()
    assert min(quantities) == Decimal("0.00000001")
    assert max(quantities) > 1_000_000_000
    assert any(Decimal(float(value)).quantize(Decimal("1e-8")) != value for value in quantities)


def test_both_sides_occur_and_kraken_sometimes_has_none() -> None:
    sides = [set(whole(generate(name, 5_000, START, START + DAY, 1))["side"].to_pylist()) for name in EXCHANGES]
    assert sides == [{"buy", "sell"}, {"buy", "sell", None}]


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_all_markets_are_traded(exchange: str) -> None:
    trades = whole(generate(exchange, 20_000, START, START + DAY, 1))
    assert set(pc.unique(trades["symbol"]).to_pylist()) == {market.symbol for market in MARKETS[exchange]}
    assert 20 <= len(MARKETS[exchange]) <= 40


def test_trades_in_flight_arrive_with_a_later_slice_and_all_at_the_end() -> None:
    stream = TradeStream("binance", 5, START)
    minutes = [START + timedelta(minutes=number) for number in range(5)]
    first = stream.advance(20_000, minutes[0], minutes[1])
    second = stream.advance(0, minutes[1], minutes[2])
    rest = stream.advance(0, minutes[2], minutes[3], last=True)
    assert stream.advance(0, minutes[3], minutes[4], last=True).num_rows == 0
    assert second.num_rows > 0
    assert pc.min(second["ingestion_timestamp"]).as_py() > minutes[1]
    assert first.num_rows + second.num_rows + rest.num_rows == 20_000


def test_an_empty_range_and_an_unknown_exchange_are_refused_with_a_remedy() -> None:
    with pytest.raises(FixConfiguration, match="Choose an end later than its start"):
        generate("binance", 1, START, START, 1)
    with pytest.raises(FixConfiguration, match="Choose from binance, kraken"):
        generate("nyse", 1, START, START + DAY, 1)
    with pytest.raises(FixConfiguration, match="negative"):
        generate("binance", -1, START, START + DAY, 1)
