"""One hash of a set of rows that both sides compute alike, whatever the order of the rows.

A row is written as text, value by value; the first eight bytes of the text's MD5 are a number, and the numbers are added modulo 2^64.
Adding keeps duplicates visible, which XOR would not. MD5 is used for speed and because every engine has it, not against an adversary.

A value's text: NULL `N`; whole numbers, days since 1970 and microseconds since 1970 in decimal digits; decimals as their unscaled whole
number; floating point as its bits' whole number; text as its length in bytes, a colon, and itself; bytes in hex digits. Values end
with `|`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from offload_core.projection import Column

if TYPE_CHECKING:
    import pyarrow as pa

_MODULUS = 1 << 64


@dataclass(frozen=True)
class RowHash:
    """How many rows, and the sum of their hashes modulo 2^64."""

    rows: int
    hash: int

    def __add__(self, other: RowHash) -> RowHash:
        return RowHash(self.rows + other.rows, (self.hash + other.hash) % _MODULUS)

    def __str__(self) -> str:
        return f"{self.rows} rows, {self.hash:016x}"


NO_ROWS = RowHash(0, 0)


def clickhouse_hash(columns: Sequence[Column]) -> str:
    """The ClickHouse expression (an aggregate) for the hash of a projection's rows."""
    texts = ", ".join(_clickhouse_text(column) for column in columns)
    return f"sumWithOverflow(reinterpretAsUInt64(reverse(substring(MD5(concat({texts}, '')), 1, 8))))"


def _clickhouse_text(column: Column) -> str:
    value = column.expression
    kind = column.iceberg_type
    if kind in ("int", "long", "boolean"):
        text = f"toString(toInt64({value}))"
    elif kind == "date":
        text = f"toString(toInt32({value}))"
    elif kind == "timestamptz":
        text = f"toString(toUnixTimestamp64Micro({value}))"
    elif kind == "float":
        text = f"toString(reinterpretAsInt32({value}))"
    elif kind == "double":
        text = f"toString(reinterpretAsInt64({value}))"
    elif kind.startswith("decimal"):
        scale = int(kind.rstrip(")").rsplit(",", 1)[1])
        text = f"toString(reinterpret(assumeNotNull(toDecimal128({value}, {scale})), 'Int128'))"
    elif kind.startswith("fixed"):
        text = f"hex({value})"
    else:
        text = f"concat(toString(length({value})), ':', CAST({value}, 'String'))"
    if column.required:
        return f"{text}, '|'"
    return f"if(isNull({value}), 'N', {text.replace(value, f'assumeNotNull({value})')}), '|'"


def arrow_hash(batches: Iterable[pa.RecordBatch], columns: Sequence[Column]) -> RowHash:
    """The same hash of Arrow batches that hold the projection's columns."""
    total = NO_ROWS
    for batch in batches:
        texts = [_arrow_text(batch.column(batch.schema.get_field_index(column.name)), column) for column in columns]
        total += RowHash(batch.num_rows, sum(map(_row_number, zip(*texts, strict=True))) % _MODULUS)
    return total


def _row_number(values: tuple[bytes, ...]) -> int:
    return int.from_bytes(hashlib.md5(b"".join(values), usedforsecurity=False).digest()[:8], "big")


def _arrow_text(array: pa.Array, column: Column) -> list[bytes]:
    """Each value's text; the heavy part, so it works on whole columns."""
    import pyarrow as pa

    kind = column.iceberg_type
    if kind.startswith("fixed"):
        return [b"N|" if value is None else value.hex().upper().encode() + b"|" for value in array.to_pylist()]
    if kind == "string":
        raw = array.cast(pa.large_string()).cast(pa.large_binary())
        return [b"N|" if value is None else b"%d:%s|" % (len(value), value) for value in raw.to_pylist()]
    return [b"N|" if value is None else b"%d|" % value for value in _whole_numbers(array, kind).to_pylist()]


def _whole_numbers(array: pa.Array, kind: str) -> pa.Array:
    import pyarrow as pa

    if kind.startswith("decimal"):
        scale = int(kind.rstrip(")").rsplit(",", 1)[1])
        wide = array.cast(pa.decimal128(38, scale))
        # The same 16 bytes read without a scale are the unscaled number.
        return pa.Array.from_buffers(pa.decimal128(38, 0), len(wide), wide.buffers(), offset=wide.offset)
    if kind == "timestamptz":
        return array.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    if kind == "date":
        return array.cast(pa.int32())
    if kind in ("float", "double"):
        return array.view(pa.int32() if kind == "float" else pa.int64())
    return array.cast(pa.int64())
