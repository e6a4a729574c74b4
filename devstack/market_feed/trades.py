"""The Arrow format of trades on their way into the hot tier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]

SIDES: Final = ("buy", "sell")

_NAME = pa.dictionary(pa.int32(), pa.string())
_TIME = pa.timestamp("us", tz="UTC")
_NUMBER = pa.decimal128(38, 8)

TRADE_SCHEMA: Final = pa.schema(
    [
        pa.field("exchange", _NAME, nullable=False),
        pa.field("symbol", _NAME, nullable=False),
        pa.field("trade_id", pa.string(), nullable=False),
        pa.field("side", _NAME, nullable=True),
        pa.field("price", _NUMBER, nullable=False),
        pa.field("quantity", _NUMBER, nullable=False),
        pa.field("exchange_timestamp", _TIME, nullable=False),
        pa.field("ingestion_timestamp", _TIME, nullable=False),
        pa.field("sequence_number", pa.uint64(), nullable=False),
    ]
)
"""The columns of a bronze table, in its order."""


def bronze_table(exchange: str) -> str:
    """Return the name of the hot tier's table for an exchange's trades."""
    return f"bronze_trades_{exchange}"


def decimals_from_units(units: Ints) -> pa.Array:
    """Return Decimal(38, 8) values for integers in units of 10^-8, without a float or a string in between."""
    words = np.empty((len(units), 2), dtype=np.int64)
    words[:, 0] = units
    words[:, 1] = units >> 63  # the sign, for the upper half of a 128-bit integer
    return pa.Array.from_buffers(_NUMBER, len(units), [None, pa.py_buffer(words)])


def names(values: Sequence[str], index: Ints) -> pa.Array:
    """Return a dictionary column; an index past the end is NULL."""
    mask = index >= len(values)
    return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32), mask=mask), pa.array(values, pa.string()))


def times(microseconds: Ints) -> pa.Array:
    """Return a UTC timestamp column for microseconds since 1970."""
    return pa.array(microseconds).cast(_TIME)


def table_from_units(
    *,
    exchange: str,
    symbols: Sequence[str],
    market: Ints,
    trade_id: Ints,
    side: Ints,
    price: Ints,
    quantity: Ints,
    exchange_us: Ints,
    ingestion_us: Ints,
    sequence: Ints,
) -> pa.Table:
    """Return a table of `TRADE_SCHEMA`.

    Args:
        exchange: the same for all rows.
        symbols: names that `market` indexes.
        market: index into `symbols`.
        trade_id: written with decimal digits.
        side: index into `SIDES`, 2 for unknown.
        price: in units of 10^-8.
        quantity: in units of 10^-8.
        exchange_us: microseconds since 1970.
        ingestion_us: microseconds since 1970.
        sequence: not negative.
    """
    return pa.Table.from_arrays(
        [
            names([exchange], np.zeros(len(market), dtype=np.int64)),
            names(symbols, market),
            pa.array(trade_id).cast(pa.string()),
            names(SIDES, side),
            decimals_from_units(price),
            decimals_from_units(quantity),
            times(exchange_us),
            times(ingestion_us),
            pa.array(sequence.astype(np.uint64)),
        ],
        schema=TRADE_SCHEMA,
    )
