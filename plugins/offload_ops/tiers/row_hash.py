"""One hash of a set of rows that both tiers compute alike, in any order of the rows.

All arithmetic is modulo 2^64. Every value becomes one or two 64-bit integers. A row is the sum of these integers, each
times a weight of its own, mixed with the finalizer of MurmurHash3 (intHash64 in ClickHouse). The hash of a set is the
sum of its rows: adding keeps duplicates visible, which XOR would not. Rows that differ in one value never have the same
number; any other two rows share one with a chance of 1 in 2^64. This protects against accidents, not against an
adversary. ClickHouse and numpy both compute it at millions of rows a second.

The integers of a value: integers, days and microseconds since 1970 as they are; decimals as the lower and upper half of
their unscaled integer; floating point as its bits; text and bytes as their xxHash64; NULL as a constant of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from offload_core.source.projection import Column
from offload_core.source.quoting import quote_identifier

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Numbers = NDArray[np.uint64]

_MODULUS = 1 << 64
_NULL = 0x9E3779B97F4A7C15
_SEED = 0x4CF2D2BAAE6DA887
"""What ClickHouse's intHash64 mixes into its argument."""


@dataclass(frozen=True)
class RowHash:
    """The number of rows, and the sum of their hashes modulo 2^64."""

    rows: int
    hash: int

    def __add__(self, other: RowHash) -> RowHash:
        return RowHash(self.rows + other.rows, (self.hash + other.hash) % _MODULUS)

    def __str__(self) -> str:
        return f"{self.rows} rows, {self.hash:016x}"


NO_ROWS = RowHash(0, 0)


def _mix(number: int) -> int:
    """Mix one number with the 64-bit finalizer of MurmurHash3."""
    number = (number ^ number >> 33) * 0xFF51AFD7ED558CCD % _MODULUS
    number = (number ^ number >> 33) * 0xC4CEB9FE1A85EC53 % _MODULUS
    return number ^ number >> 33


def _weight(column: int, part: int) -> int:
    """The weight of a column's integer: odd, so that different integers have different products modulo 2^64."""
    return _mix(2 * column + part + 1) | 1


def clickhouse_hash(columns: Sequence[Column]) -> str:
    """The ClickHouse aggregate expression for the hash of a projection's rows."""
    return f"sumWithOverflow({clickhouse_row_number(columns)})"


def clickhouse_row_number(columns: Sequence[Column]) -> str:
    """The ClickHouse expression for one row's number."""
    products = [
        f"toUInt64({_weight(at, number)}) * {part}"
        for at, column in enumerate(columns)
        for number, part in enumerate(_clickhouse_parts(column))
    ]
    return f"intHash64({' + '.join(products) or 'toUInt64(0)'})"


def _clickhouse_parts(column: Column) -> list[str]:
    if column.required:
        return _clickhouse_numbers(column.iceberg_type, column.expression)
    value = column.expression
    parts = _clickhouse_numbers(column.iceberg_type, f"assumeNotNull({value})")
    return [f"if(isNull({value}), toUInt64({0 if at else _NULL}), {part})" for at, part in enumerate(parts)]


def _clickhouse_numbers(kind: str, value: str) -> list[str]:
    """The integers of a value, as expressions of type UInt64."""
    if kind in ("int", "long", "boolean", "date"):
        return [f"reinterpretAsUInt64(toInt64({value}))"]
    if kind == "timestamptz":
        return [f"reinterpretAsUInt64(toUnixTimestamp64Micro({value}))"]
    if kind == "float":
        return [f"reinterpretAsUInt64(toInt64(reinterpretAsInt32({value})))"]
    if kind == "double":
        return [f"reinterpretAsUInt64({value})"]
    if kind.startswith("decimal"):
        unscaled = f"reinterpret(toDecimal128({value}, {_scale(kind)}), 'Int128')"
        return [f"toUInt64({unscaled})", f"toUInt64(bitShiftRight({unscaled}, 64))"]
    return [f"xxHash64({value})"]


def _scale(kind: str) -> int:
    return int(kind.rstrip(")").rsplit(",", 1)[1])


def default_numbers_query(columns: Sequence[Column], types: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The ClickHouse query for the integers of the types' default values: one row with the array `offload_numbers`.

    Args:
        columns: columns that cannot be NULL.
        types: their ClickHouse types by name.

    Returns:
        The query and its parameters.
    """
    numbers = ", ".join(
        f"arrayMap(number -> toString(number), [{', '.join(_clickhouse_parts(column))}])" for column in columns
    )
    defaults = ", ".join(
        f"defaultValueOfTypeName({{type_{number}:String}}) AS {quote_identifier(column.name)}"
        for number, column in enumerate(columns)
    )
    parameters = {f"type_{number}": types[column.name] for number, column in enumerate(columns)}
    return f"SELECT [{numbers}] AS offload_numbers FROM (SELECT {defaults})", parameters  # noqa: S608 - quoted


def arrow_hash(
    batches: Iterable[pa.RecordBatch], columns: Sequence[Column], nulls: Mapping[str, Sequence[int]] | None = None
) -> RowHash:
    """The hash of the rows in Arrow batches, equal to `clickhouse_hash`; arguments as for `arrow_row_numbers`."""
    import numpy as np

    total = NO_ROWS
    for batch in batches:
        numbers = arrow_row_numbers(batch, columns, nulls)
        total += RowHash(batch.num_rows, int(numbers.sum(dtype=np.uint64)))
    return total


def arrow_row_numbers(
    batch: pa.RecordBatch, columns: Sequence[Column], nulls: Mapping[str, Sequence[int]] | None = None
) -> Numbers:
    """The number of every row, equal to that of `clickhouse_row_number`. A column that the batch lacks counts as NULL.

    Args:
        batch: rows of the cold tier.
        columns: the projection, in the same order as on the ClickHouse side.
        nulls: by column name, the integers that a NULL there stands for instead of its own.
    """
    import numpy as np

    sums = np.zeros(batch.num_rows, np.uint64)
    for at, column in enumerate(columns):
        index = batch.schema.get_field_index(column.name)
        array = batch.column(index) if index >= 0 else None
        null = [np.uint64(number) for number in (nulls or {}).get(column.name, (_NULL, 0))]
        for part, numbers in enumerate(_arrow_numbers(array, column.iceberg_type, null, batch.num_rows)):
            sums += numbers * np.uint64(_weight(at, part))
    return _mix_all(sums ^ np.uint64(_SEED))


def _mix_all(numbers: Numbers) -> Numbers:
    """Mix many numbers as `_mix` mixes one."""
    import numpy as np

    shift = np.uint64(33)
    numbers = (numbers ^ numbers >> shift) * np.uint64(0xFF51AFD7ED558CCD)
    numbers = (numbers ^ numbers >> shift) * np.uint64(0xC4CEB9FE1A85EC53)
    mixed: Numbers = numbers ^ numbers >> shift
    return mixed


def _arrow_numbers(array: pa.Array | None, kind: str, null: Sequence[np.uint64], rows: int) -> list[Numbers]:
    """The integers of each value; `null` are those of NULL, which is every value of a missing column."""
    import numpy as np

    if array is None or array.null_count == len(array):
        return [np.full(rows, number) for number in null]
    parts = _numbers_of_values(array, kind)
    if not array.null_count:
        return parts
    missing = array.is_null().to_numpy(zero_copy_only=False)
    return [np.where(missing, stands_for, part) for part, stands_for in zip(parts, null, strict=False)]


def _numbers_of_values(array: pa.Array, kind: str) -> list[Numbers]:
    """The integers of each value; those of NULL values are arbitrary."""
    import numpy as np
    import pyarrow as pa

    if kind.startswith("decimal"):
        wide = array.cast(pa.decimal128(38, _scale(kind)))
        # An Arrow decimal is the 16 bytes of its unscaled integer, lower half first.
        halves = np.frombuffer(wide.buffers()[1], np.uint64)[2 * wide.offset : 2 * (wide.offset + len(wide))]
        return [halves[0::2], halves[1::2]]
    if kind == "string" or kind.startswith("fixed"):
        return [_text_numbers(array)]
    return [_whole_numbers(array, kind).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)]


def _text_numbers(array: pa.Array) -> Numbers:
    """The xxHash64 of every text, computed once per distinct text."""
    import numpy as np
    import pyarrow as pa
    from xxhash import xxh64_intdigest

    raw = array if pa.types.is_fixed_size_binary(array.type) else array.cast(pa.large_string()).cast(pa.large_binary())
    encoded = raw.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    known = np.fromiter(map(xxh64_intdigest, texts), np.uint64, len(texts))
    numbers: Numbers = known[encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)]
    return numbers


def _whole_numbers(array: pa.Array, kind: str) -> pa.Array:
    import pyarrow as pa

    if kind == "timestamptz":
        return array.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    if kind == "date":
        return array.cast(pa.int32())
    if kind in ("float", "double"):
        # After the column was widened from float to double, ClickHouse hashes its old values as doubles too.
        exact = array.cast(pa.float32() if kind == "float" else pa.float64())
        return exact.view(pa.int32() if kind == "float" else pa.int64())
    return array.cast(pa.int64())
