"""Blocks: a few columns of the same length, in the engine's Native format."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from embedded.clickhouse.native.columns import column_type
from embedded.clickhouse.native.wire import FromServer, Reader, number, text

_INFO_OVERFLOWS, _INFO_BUCKET, _INFO_END = 1, 2, 0
# No totals row, and bucket -1: not part of a two-level aggregation.
_NO_INFO = bytes((_INFO_OVERFLOWS, 0, _INFO_BUCKET)) + (-1).to_bytes(4, "little", signed=True) + bytes((_INFO_END,))
_DATA_HEAD = number(FromServer.DATA) + text("") + _NO_INFO

EMPTY = number(0) + number(0)
"""A block without columns: the end of a stream."""


@dataclass(frozen=True)
class Block:
    """A block: its bytes in Native format, and what they hold."""

    data: bytes
    names: tuple[str, ...]
    types: tuple[str, ...]
    rows: int


def read_block(reader: Reader) -> Block:
    """Read the block of a DATA packet, behind the name of its table."""
    _skip_info(reader)
    return read_native(reader)


def read_native(reader: Reader) -> Block:
    """Read a block in Native format.

    Raises:
        ServerError: NOT_IMPLEMENTED for a column whose end can't be found.
    """
    reader.keep()
    columns, rows = reader.number(), reader.number()
    names, types = [], []
    for _ in range(columns):
        names.append(reader.text())
        types.append(reader.text())
        column = column_type(types[-1])
        if rows:
            column.skip_prefix(reader)
            column.skip_data(reader, rows)
    return Block(reader.kept(), tuple(names), tuple(types), rows)


def send_block(connection: socket.socket, native: bytes) -> None:
    """Send a block in Native format as a DATA packet."""
    if len(native) < 1 << 16:
        connection.sendall(_DATA_HEAD + native)
    else:
        connection.sendall(_DATA_HEAD)
        connection.sendall(native)


def header_block(names: Sequence[str], types: Sequence[str]) -> bytes:
    """A block of no rows, which tells the names and types of the columns."""
    described = b"".join(text(name) + text(type_name) for name, type_name in zip(names, types, strict=True))
    return number(len(names)) + number(0) + described


def _skip_info(reader: Reader) -> None:
    while field := reader.number():
        reader.skip(1 if field == _INFO_OVERFLOWS else 4)
