"""Inserts trades that happen now, until it is stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from threading import Event

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from devstack.market_feed.generator import TradeStream
from devstack.market_feed.hot_tier import insert, read_position
from offload_core.errors import FixConfiguration

TICK_SECONDS = 1.0
"""There is one insert per exchange and tick, because ClickHouse prefers few large inserts to many small ones."""


def run_live(
    client: Client,
    exchanges: Iterable[str],
    rate: float,
    seed: int,
    clock: Callable[[], datetime],
    stop: Event,
    duration: timedelta | None = None,
    tick_seconds: float = TICK_SECONDS,
) -> Iterator[tuple[str, pa.Table]]:
    """Insert `rate` generated trades per second and exchange; yield each batch after it was inserted.

    A trade's `exchange_timestamp` is the time by `clock` at which it happens. Most trades arrive immediately, a few up
    to two minutes later. At the end, by `stop` or after `duration`, the trades still in flight are inserted, so that
    all trades that happened are in the table.

    Args:
        client: from `connect`.
        exchanges: the exchanges whose tables are fed; no other feed may write to them at the same time.
        rate: trades per second and exchange, more than 0.
        seed: determines everything except the clock.
        clock: returns the current time, zone-aware.
        stop: set it to end the feed within a tick.
        duration: how long the feed runs, by `clock`; None for no limit.
        tick_seconds: pause between inserts.

    Raises:
        OffloadError: for the reasons of `insert`; the batches yielded so far are stored.
    """
    if rate <= 0:
        raise FixConfiguration(f"A rate of {rate} trades per second is not possible.", "Choose a rate above 0.")
    started = last = clock()
    streams = [TradeStream(name, seed, started, read_position(client, name)) for name in exchanges]
    happened = 0
    ended = False
    while not ended:
        ended = stop.wait(tick_seconds)
        now = clock()
        if duration is not None and now - started >= duration:
            now, ended = started + duration, True
        if now <= last:  # the clock was set back: wait until it has caught up
            continue
        due = int((now - started).total_seconds() * rate)
        for stream in streams:
            batch = stream.advance(due - happened, last, now, last=ended)
            if batch.num_rows:
                insert(client, stream.exchange, batch)
                yield stream.exchange, batch
        last, happened = now, due
