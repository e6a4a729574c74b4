"""Live trades: their rate, their times, and that none is lost at the end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from threading import Event

import pyarrow.compute as pc
import pytest
from clickhouse_connect.driver.client import Client

from devstack.market_feed import MAX_LATENESS, insert_history, run_live
from offload_core.errors import FixConfiguration

pytestmark = pytest.mark.integration

BEGIN = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(hours=1)


def ticking(*seconds: float) -> Iterator[datetime]:
    return (BEGIN + timedelta(seconds=second) for second in seconds)


def test_the_rate_holds_over_uneven_ticks_and_every_trade_arrives(hot_tier: Client) -> None:
    moments = ticking(0, 1, 1.7, 1.7, 0.5, 6, 10.2)
    batches = list(
        run_live(
            hot_tier,
            ["binance", "kraken"],
            150,
            1,
            lambda: next(moments),
            Event(),
            timedelta(seconds=10),
            tick_seconds=0,
        )
    )
    assert sum(batch.num_rows for _, batch in batches) == 2 * 1_500
    query = "SELECT exchange, count(), min(exchange_timestamp), max(exchange_timestamp) FROM silver_trades GROUP BY 1"
    for _, rows, oldest, newest in hot_tier.query(query, query_tz="UTC", tz_mode="aware").result_rows:
        assert rows == 1_500
        assert BEGIN <= oldest < BEGIN + timedelta(seconds=1)
        assert BEGIN + timedelta(seconds=9) < newest < BEGIN + timedelta(seconds=10)


def test_late_trades_come_after_later_ones_but_within_two_minutes(hot_tier: Client) -> None:
    moments = ticking(*range(0, 600, 10))
    batches = run_live(
        hot_tier, ["binance"], 20, 1, lambda: next(moments), Event(), timedelta(seconds=500), tick_seconds=0
    )
    bounds = [pc.min_max(batch["exchange_timestamp"]).as_py() for _, batch in batches]
    newest_so_far = [max(bound["max"] for bound in bounds[: number + 1]) for number in range(len(bounds))]
    delays = [newest - bound["min"] for newest, (_, bound) in zip(newest_so_far, pairwise(bounds), strict=False)]
    assert max(delays) > timedelta(seconds=10)
    assert max(delays) <= MAX_LATENESS + timedelta(seconds=20)


def test_stop_ends_it_with_everything_inserted_and_the_numbers_continue(hot_tier: Client) -> None:
    list(insert_history(hot_tier, ["kraken"], 300, BEGIN - timedelta(minutes=5), BEGIN, 1))
    stop = Event()
    rows = 0
    moments = ticking(0, 1, 2, 3)
    for _, batch in run_live(hot_tier, ["kraken"], 100, 1, lambda: next(moments), stop, tick_seconds=0):
        rows += batch.num_rows
        stop.set()
    query = "SELECT count(), uniqExact(sequence_number), uniqExact((symbol, trade_id)) FROM bronze_trades_kraken"
    assert rows == 200
    assert hot_tier.query(query).result_rows == [(500, 500, 500)]
    regressions = (
        "SELECT countIf(exchange_timestamp < earlier) FROM (SELECT exchange_timestamp, "
        "lagInFrame(exchange_timestamp) OVER (ORDER BY sequence_number) AS earlier FROM bronze_trades_kraken)"
    )
    assert hot_tier.command(regressions) == 0


def test_a_rate_of_zero_is_refused(hot_tier: Client) -> None:
    with pytest.raises(FixConfiguration, match="Choose a rate above 0"):
        list(run_live(hot_tier, ["kraken"], 0, 1, lambda: BEGIN, Event()))
