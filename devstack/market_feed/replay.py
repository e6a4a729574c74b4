"""Inserts real trades from a file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver.client import Client
from pyarrow import csv

from devstack.market_feed.generator import BATCH_ROWS
from devstack.market_feed.hot_tier import insert, read_position, stored_ids
from devstack.market_feed.markets import EXCHANGES
from devstack.market_feed.position import FeedPosition
from devstack.market_feed.trades import SIDES, TRADE_SCHEMA
from offload_core.errors import FixConfiguration
from offload_core.protocol.window import from_micros, to_micros

FILE_COLUMNS: Final = {
    "exchange": pa.string(),
    "symbol": pa.string(),
    "trade_id": pa.string(),
    "side": pa.string(),
    "price": pa.decimal128(38, 8),
    "quantity": pa.decimal128(38, 8),
    "exchange_timestamp_ms": pa.int64(),
}


def read_trades(path: Path) -> pa.Table:
    """Read a CSV file with a header and the columns of `FILE_COLUMNS`; others are ignored, an empty side is NULL.

    The rows are sorted by time. Decimals are parsed as decimals; digits beyond the eighth are an error, not rounded.

    Raises:
        FixConfiguration: the file cannot be read, a column is missing, or a value is wrong.
    """
    options = csv.ConvertOptions(
        column_types=FILE_COLUMNS, include_columns=list(FILE_COLUMNS), null_values=[""], strings_can_be_null=True
    )
    try:
        trades = csv.read_csv(path, convert_options=options)
    except (OSError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise FixConfiguration(
            f"{path} is not a file of trades: {error}.", f"It needs the columns {', '.join(FILE_COLUMNS)}."
        ) from error
    _check(path, trades)
    return trades.sort_by("exchange_timestamp_ms")


def shift_to(trades: pa.Table, newest: datetime) -> timedelta:
    """Return the shift that moves the newest of `trades` to `newest` (zone-aware)."""
    newest_ms = pc.max(trades["exchange_timestamp_ms"]).as_py()
    return newest - from_micros(newest_ms * 1000)


def insert_replay(client: Client, trades: pa.Table, shift: timedelta, now: datetime) -> Iterator[tuple[str, pa.Table]]:
    """Insert trades from `read_trades`, shifted in time by `shift`; yield each batch after it was inserted.

    All columns except `exchange_timestamp` stay as in the file. `ingestion_timestamp` is `now`. Sequence numbers
    continue those in the table, ordered by time and then by position in the file.

    Raises:
        FixConfiguration: the table already contains one of the trades; nothing was inserted.
        OffloadError: for the reasons of `insert`; the batches yielded so far are stored.
    """
    parts = {name: trades.filter(pc.equal(trades["exchange"], name)) for name in EXCHANGES}
    parts = {name: part for name, part in parts.items() if part.num_rows}
    for exchange, part in parts.items():
        _check_new(client, exchange, part)
    for exchange, part in parts.items():
        rows = to_bronze(part, shift, now, read_position(client, exchange))
        for offset in range(0, rows.num_rows, BATCH_ROWS):
            batch = rows.slice(offset, BATCH_ROWS)
            insert(client, exchange, batch)
            yield exchange, batch


def to_bronze(trades: pa.Table, shift: timedelta, now: datetime, position: FeedPosition) -> pa.Table:
    """Return rows of `TRADE_SCHEMA` for one exchange's trades, which are sorted by time."""
    shift_us = shift // timedelta(microseconds=1)
    happened = pc.add(pc.multiply(trades["exchange_timestamp_ms"], 1000), shift_us)
    first = position.next_sequence(happened[0].as_py())
    columns = {
        **{name: trades[name] for name in ("exchange", "symbol", "trade_id", "side", "price", "quantity")},
        "exchange_timestamp": happened,
        "ingestion_timestamp": pa.array(np.full(trades.num_rows, to_micros(now))),
        "sequence_number": pa.array(np.arange(first, first + trades.num_rows, dtype=np.uint64)),
    }
    return pa.table([_as(columns[field.name], field.type) for field in TRADE_SCHEMA], schema=TRADE_SCHEMA)


def _as(column: pa.ChunkedArray | pa.Array, kind: pa.DataType) -> pa.ChunkedArray | pa.Array:
    if pa.types.is_dictionary(kind):
        return pc.dictionary_encode(column).cast(kind)
    return column.cast(kind)


def _check(path: Path, trades: pa.Table) -> None:
    if not trades.num_rows:
        raise FixConfiguration(f"{path} contains no trades.", "Choose another file.")
    for name in FILE_COLUMNS:
        if name != "side" and trades[name].null_count:
            raise FixConfiguration(
                f"{path}: {name} is empty in {trades[name].null_count} rows.", "Only side may be empty."
            )
    for name, allowed in (("exchange", EXCHANGES), ("side", SIDES)):
        strange = set(pc.unique(trades[name]).to_pylist()) - {None, *allowed}
        if strange:
            raise FixConfiguration(
                f"{path}: {name} is {', '.join(sorted(strange))}.", f"Allowed: {', '.join(allowed)}."
            )
    keys = _keys(pc.binary_join_element_wise(trades["exchange"], trades["symbol"], "\n"), trades["trade_id"])
    repeated = trades.num_rows - pc.count_distinct(keys).as_py()
    if repeated:
        raise FixConfiguration(
            f"{path}: {repeated} rows repeat a trade id of their symbol.", "Remove the repeated rows."
        )


def _check_new(client: Client, exchange: str, trades: pa.Table) -> None:
    stored = stored_ids(client, exchange, pc.unique(trades["symbol"]).to_pylist())
    again = pc.is_in(_keys(trades["symbol"], trades["trade_id"]), value_set=_keys(stored["symbol"], stored["trade_id"]))
    count = pc.sum(again).as_py() or 0
    if count:
        raise FixConfiguration(
            f"The hot tier already contains {count} of the {trades.num_rows} {exchange} trades.",
            "Replay a file only once.",
        )


def _keys(symbol: pa.ChunkedArray, trade_id: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(symbol.cast(pa.string()), trade_id.cast(pa.string()), "\n")
