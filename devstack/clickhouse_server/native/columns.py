"""The lengths of columns. Blocks carry no lengths, so the reader finds a block's end from the types of its columns.

A column consists of its prefix (all nested prefixes first) and its data. Both walk the type from the outside inwards.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from devstack.clickhouse_server.errors import Code, ServerError
from devstack.clickhouse_server.native.wire import ProtocolError, WireReader

_SIZES = {
    **dict.fromkeys(("Int8", "UInt8", "Bool", "Enum8", "Nothing"), 1),
    **dict.fromkeys(("Int16", "UInt16", "BFloat16", "Date", "Enum16"), 2),
    **dict.fromkeys(("Int32", "UInt32", "Float32", "Date32", "DateTime", "IPv4", "Decimal32", "Time"), 4),
    **dict.fromkeys(("Int64", "UInt64", "Float64", "DateTime64", "Time64", "Decimal64"), 8),
    **dict.fromkeys(("Int128", "UInt128", "UUID", "IPv6", "Decimal128"), 16),
    **dict.fromkeys(("Int256", "UInt256", "Decimal256"), 32),
}
_ALIASES = {
    "Point": "Tuple(Float64, Float64)",
    "Ring": "Array(Point)",
    "LineString": "Array(Point)",
    "MultiLineString": "Array(LineString)",
    "Polygon": "Array(Ring)",
    "MultiPolygon": "Array(Polygon)",
}
_DECIMAL_BYTES = ((9, 4), (18, 8), (38, 16), (76, 32))
_HAS_KEYS = 1 << 9
_KEY_WIDTHS = (1, 2, 4, 8)
_NAMED = re.compile(r"(?:`(?:[^`\\]|\\.)*`|[A-Za-z_]\w*)\s+(?=[A-Z])")


@dataclass(frozen=True)
class ColumnType:
    """A type with its nested types; this class is for values of a fixed size in bytes."""

    size: int = 0

    def skip_prefix(self, reader: WireReader) -> None:
        """Skip the prefix of the whole column."""

    def skip_data(self, reader: WireReader, rows: int) -> None:
        """Skip the values of this number of rows."""
        reader.skip(self.size * rows)


class _Strings(ColumnType):
    def skip_data(self, reader: WireReader, rows: int) -> None:
        reader.skip_texts(rows)


@dataclass(frozen=True)
class _Nullable(ColumnType):
    inner: ColumnType = ColumnType()

    def skip_prefix(self, reader: WireReader) -> None:
        self.inner.skip_prefix(reader)

    def skip_data(self, reader: WireReader, rows: int) -> None:
        reader.skip(rows)
        self.inner.skip_data(reader, rows)


@dataclass(frozen=True)
class _Array(ColumnType):
    inner: ColumnType = ColumnType()

    def skip_prefix(self, reader: WireReader) -> None:
        self.inner.skip_prefix(reader)

    def skip_data(self, reader: WireReader, rows: int) -> None:
        if rows:
            reader.skip(8 * (rows - 1))
            self.inner.skip_data(reader, reader.uint64())


@dataclass(frozen=True)
class _Tuple(ColumnType):
    inner: tuple[ColumnType, ...] = ()

    def skip_prefix(self, reader: WireReader) -> None:
        for element in self.inner:
            element.skip_prefix(reader)

    def skip_data(self, reader: WireReader, rows: int) -> None:
        for element in self.inner:
            element.skip_data(reader, rows)
        if not self.inner:
            reader.skip(rows)


@dataclass(frozen=True)
class _LowCardinality(ColumnType):
    inner: ColumnType = ColumnType()

    def skip_prefix(self, reader: WireReader) -> None:
        reader.skip(8)

    def skip_data(self, reader: WireReader, rows: int) -> None:
        while rows > 0:
            flags = reader.uint64()
            if not flags & _HAS_KEYS or flags & 0xFF >= len(_KEY_WIDTHS):
                raise ProtocolError(f"A LowCardinality column has unknown flags {flags:#x}.")
            self.inner.skip_data(reader, reader.uint64())
            count = reader.uint64()
            reader.skip(count * _KEY_WIDTHS[flags & 0xFF])
            rows -= count


@lru_cache(maxsize=4096)
def column_type(name: str) -> ColumnType:
    """Parse the name of a type.

    Raises:
        ServerError: NOT_IMPLEMENTED for a type that cannot be inserted over this protocol (use HTTP).
    """
    outer, inside = _split(_ALIASES.get(name, name))
    simple = _simple(outer, inside)
    if simple is not None:
        return simple
    if outer == "Nullable":
        return _Nullable(inner=column_type(inside[0]))
    if outer == "Array":
        return _Array(inner=column_type(inside[0]))
    if outer == "Tuple":
        return _Tuple(inner=_elements(inside))
    if outer in ("Map", "Nested"):
        return _Array(inner=_Tuple(inner=_elements(inside)))
    if outer == "LowCardinality":
        # The dictionary of LowCardinality(Nullable(T)) contains plain T; its first key means NULL.
        keys = column_type(inside[0])
        return _LowCardinality(inner=keys.inner if isinstance(keys, _Nullable) else keys)
    if outer == "SimpleAggregateFunction":
        return column_type(inside[1])
    raise ServerError(Code.NOT_IMPLEMENTED, f"Rows with a column of type {name} can be inserted over HTTP only.")


def _simple(outer: str, inside: Sequence[str]) -> ColumnType | None:
    if outer == "String":
        return _Strings()
    if outer == "FixedString":
        return ColumnType(int(inside[0]))
    if outer == "Decimal":
        digits = int(inside[0])
        return ColumnType(next(size for limit, size in _DECIMAL_BYTES if digits <= limit))
    if outer.startswith("Interval"):
        return ColumnType(8)
    return ColumnType(_SIZES[outer]) if outer in _SIZES else None


def _elements(inside: Sequence[str]) -> tuple[ColumnType, ...]:
    """The types of a tuple's elements, which may have names."""
    return tuple(
        column_type(_NAMED.sub("", element, count=1) if _NAMED.match(element) else element) for element in inside
    )


def _split(name: str) -> tuple[str, list[str]]:
    """`Map(String, Array(UInt8))` → `Map` and [`String`, `Array(UInt8)`]; quoted names may contain any mark."""
    outer, opening, rest = name.partition("(")
    if not opening:
        return name.strip(), []
    parts, depth, start, quote, i = [], 0, 0, "", 0
    inside = rest[: rest.rindex(")")]
    while i < len(inside):
        mark = inside[i]
        if quote:
            # A backslash also consumes the mark after it.
            i += mark == "\\"
            quote = "" if mark == quote else quote
        elif mark in "'`":
            quote = mark
        elif mark == "," and depth == 0:
            parts.append(inside[start:i].strip())
            start = i + 1
        else:
            depth += (mark == "(") - (mark == ")")
        i += 1
    return outer.strip(), [*parts, inside[start:].strip()]
