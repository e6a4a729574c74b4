"""Inserts the generated trades of a time range, all at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from devstack.market_feed.generator import generate
from devstack.market_feed.hot_tier import insert, read_position


def insert_history(
    client: Client, exchanges: Iterable[str], rows: int, start: datetime, end: datetime, seed: int
) -> Iterator[tuple[str, pa.Table]]:
    """Insert `rows` generated trades per exchange with `exchange_timestamp` in `[start, end)`.

    Yields each batch after it was inserted. Numbers continue those in the tables, so only one feed at a time may write
    to an exchange's table.

    Raises:
        OffloadError: for the reasons of `generate` and `insert`; the batches yielded so far are stored.
    """
    for exchange in exchanges:
        for batch in generate(exchange, rows, start, end, seed, read_position(client, exchange)):
            insert(client, exchange, batch)
            yield exchange, batch
