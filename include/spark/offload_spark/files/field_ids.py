"""Writes Iceberg's field ids into the footer of a Parquet file that ClickHouse has written without them.

Iceberg finds columns by these ids (ADR 0015). Only the schema in the footer changes; pages, statistics and everything
else stay the same, byte for byte. A footer is a `FileMetaData` in Thrift's compact protocol (Apache Parquet's
parquet.thrift). Its field 2 is the schema: a list of `SchemaElement`, the root first, then the columns.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path

from offload_core.errors import AuditFailed

_TAIL = struct.Struct("<I4s")
_MAGIC = b"PAR1"

_I32, _BINARY, _LIST, _STRUCT = 5, 8, 9, 12
_VARINTS = {4, _I32, 6}
_FIXED = {1: 0, 2: 0, 3: 1}
"""Size (bytes) of the values of true, false (the type itself is the value) and byte. A schema has no other types."""

_SCHEMA = 2
"""Number of a field of `FileMetaData`."""
_NAME, _CHILDREN, _FIELD_ID = 4, 5, 9
"""Numbers of fields of `SchemaElement`."""

_Fields = dict[int, tuple[int, bytes]]
"""A struct's fields by their numbers: type and encoded value."""


def assign_field_ids(path: Path, ids: Mapping[str, int]) -> None:
    """Give the columns of a file their field ids, in place. No other process may be reading the file.

    Args:
        path: a complete Parquet file without nested columns.
        ids: field ids by the columns' names.

    Raises:
        AuditFailed: the file is not complete, is nested, or has a column without an id; it stays as it was.
        OSError: the file cannot be read or written.
    """
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END) - _TAIL.size
        file.seek(max(0, end))
        tail = file.read()
        length, magic = _TAIL.unpack(tail) if len(tail) == _TAIL.size else (0, b"")
        try:
            if magic != _MAGIC or length > end:
                raise ValueError("it is truncated")
            file.seek(end - length)
            footer = footer_with_field_ids(file.read(length), ids)
        except ValueError as error:
            raise AuditFailed(
                f"The footer of {path.name} is not what ClickHouse writes for this table: {error}.",
                "Nothing was published; the next attempt fetches the window again.",
            ) from error
        file.seek(end - length)
        file.write(footer + _TAIL.pack(len(footer), _MAGIC))


def footer_with_field_ids(footer: bytes, ids: Mapping[str, int]) -> bytes:
    """The footer with these ids in its columns.

    Raises:
        ValueError: this is not a footer, or one of its columns has no id or is nested.
    """
    reader = _Reader(footer)
    kind, number = reader.field(0)
    while number < _SCHEMA:
        reader.skip(kind)
        kind, number = reader.field(number)
    start = reader.position
    size = reader.list_of_structs()
    if (kind, number) != (_LIST, _SCHEMA) or not size:
        raise ValueError("it has no schema")
    root, *columns = [reader.fields() for _ in range(size)]
    schema = [root, *(_with_field_id(column, ids) for column in columns)]
    return footer[:start] + _list_of_structs(schema) + footer[reader.position :]


def _with_field_id(column: _Fields, ids: Mapping[str, int]) -> _Fields:
    name = _Reader(column[_NAME][1]).binary().decode() if _NAME in column else ""
    if _CHILDREN in column:
        raise ValueError(f"column {name!r} is nested")
    if name not in ids:
        raise ValueError(f"column {name!r} has no field id")
    return {**column, _FIELD_ID: (_I32, _varint(ids[name] << 1))}  # zigzag of a number that is not negative


class _Reader:
    """Reads one value after another. Every method raises ValueError if the data are truncated or malformed."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def field(self, before: int) -> tuple[int, int]:
        """Type and number of a struct's next field; `before` is the previous field's number. Type 0 ends the struct."""
        head = self._take(1)[0]
        if head and not head >> 4:
            raise ValueError("its fields are not in order")
        return head & 15, before + (head >> 4)

    def fields(self) -> _Fields:
        """All fields of a struct."""
        fields: _Fields = {}
        kind, number = self.field(0)
        while kind:
            start = self.position
            self.skip(kind)
            fields[number] = kind, self._data[start : self.position]
            kind, number = self.field(number)
        return fields

    def list_of_structs(self) -> int:
        """The length of a list of structs, from the list's head."""
        head = self._take(1)[0]
        if head & 15 != _STRUCT:
            raise ValueError("it has no schema")
        return self._varint() if head >> 4 == 15 else head >> 4

    def binary(self) -> bytes:
        """A string."""
        return self._take(self._varint())

    def skip(self, kind: int) -> None:
        """Skip a value of this type."""
        if kind in _VARINTS:
            self._varint()
        elif kind == _BINARY:
            self.binary()
        elif kind == _STRUCT:
            self.fields()
        elif kind in _FIXED:
            self._take(_FIXED[kind])
        else:
            raise ValueError(f"its schema holds a value of type {kind}")

    def _varint(self) -> int:
        value = shift = 0
        byte = 128
        while byte & 128:
            byte = self._take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
        return value

    def _take(self, count: int) -> bytes:
        start, self.position = self.position, self.position + count
        if self.position > len(self._data):
            raise ValueError("it is truncated")
        return self._data[start : self.position]


def _list_of_structs(structs: list[_Fields]) -> bytes:
    size = len(structs)
    head = bytes([size << 4 | _STRUCT]) if size < 15 else bytes([15 << 4 | _STRUCT]) + _varint(size)
    return head + b"".join(map(_struct, structs))


def _struct(fields: _Fields) -> bytes:
    encoded, before = b"", 0
    for number, (kind, value) in sorted(fields.items()):
        encoded += bytes([(number - before) << 4 | kind]) + value
        before = number
    return encoded + b"\0"


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])
