"""Blocks: a few columns of the same length, in the engine's Native format."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from devstack.clickhouse_server.native.columns import column_type
from devstack.clickhouse_server.native.wire import FromServer, WireReader, number, text

_INFO_OVERFLOWS, _INFO_BUCKET, _INFO_END = 1, 2, 0
# No totals row, and bucket -1: not part of a two-level aggregation.
_NO_INFO = bytes((_INFO_OVERFLOWS, 0, _INFO_BUCKET)) + (-1).to_bytes(4, "little", signed=True) + bytes((_INFO_END,))
_DATA_HEAD = number(FromServer.DATA) + text("") + _NO_INFO


@dataclass(frozen=True)
class Block:
    """A block as the names, types and bytes of its columns."""

    rows: int
    names: tuple[str, ...]
    types: tuple[str, ...]
    columns: tuple[bytes, ...]

    def native(self) -> bytes:
        """Return the block in Native format."""
        described = zip(self.names, self.types, self.columns, strict=True)
        pieces = [piece for name, kind, column in described for piece in (text(name), text(kind), column)]
        return b"".join((number(len(self.names)), number(self.rows), *pieces))

    @classmethod
    def empty(cls, names: Sequence[str], types: Sequence[str]) -> Block:
        """Return a block without rows, which carries the names and types of the columns."""
        return cls(0, tuple(names), tuple(types), (b"",) * len(names))

    def with_types(self, types: Sequence[str]) -> Block:
        """Return a block with the same bytes and other type names."""
        return Block(self.rows, self.names, tuple(types), self.columns)


def read_block(reader: WireReader) -> Block:
    """Read the block of a DATA packet, after the name of its table."""
    _skip_info(reader)
    return read_native(reader)


def read_native(reader: WireReader) -> Block:
    """Read a block in Native format.

    Raises:
        ServerError: NOT_IMPLEMENTED for a column whose length is unknown.
    """
    count, rows = reader.number(), reader.number()
    names, types, columns = [], [], []
    for _ in range(count):
        names.append(reader.text())
        types.append(reader.text())
        column = column_type(types[-1])
        reader.keep()
        if rows:
            column.skip_prefix(reader)
            column.skip_data(reader, rows)
        columns.append(reader.kept())
    return Block(rows, tuple(names), tuple(types), tuple(columns))


def send_block(connection: socket.socket, native: bytes) -> None:
    """Send a block in Native format as a DATA packet."""
    if len(native) < 1 << 16:
        connection.sendall(_DATA_HEAD + native)
    else:
        connection.sendall(_DATA_HEAD)
        connection.sendall(native)


def _skip_info(reader: WireReader) -> None:
    while field := reader.number():
        reader.skip(1 if field == _INFO_OVERFLOWS else 4)
