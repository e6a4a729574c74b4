"""The blocks of a result as clients of the native protocol expect them."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
from collections.abc import Generator

from devstack.clickhouse_server.engine import Engine
from devstack.clickhouse_server.errors import ServerError
from devstack.clickhouse_server.native.block import Block, read_native
from devstack.clickhouse_server.native.wire import Reader
from devstack.clickhouse_server.session import EngineSession
from devstack.clickhouse_server.sql import Statement

# The engine's Native format leaves the zone of such a column out, which would make clients assume their own.
_ZONE_LEFT_OUT = "DateTime"


def result_blocks(engine: Engine, session: EngineSession, statement: Statement) -> Generator[bytes, None, None]:
    """Run a statement and yield its result: a block without rows, which tells names and types, then those with rows.

    Raises:
        ServerError: whatever the engine raised, at once or between blocks.
    """
    database = session.database
    text = f"{statement.sql} {statement.tail}"
    blocks = session.blocks(text) if statement.streamed else _split(session.fetch(text, "Native"))
    with contextlib.closing(blocks):
        first = next(blocks, None)
        if first is None:
            yield _nothing(session, statement).native()
            return
        opened, told = _open(first), None
        if statement.streamed and (opened is None or _ZONE_LEFT_OUT in opened.types):
            told = _describe_aside(engine, database, statement.sql)
        header = told or opened
        if header:
            yield Block.empty(header.names, header.types).native()
        for block in itertools.chain([first], blocks):
            yield read_native(_reader(block)).of_types(told.types).native() if told and opened else block


def describe(session: EngineSession, select: str) -> Block:
    """A block without rows: the names and types of a SELECT's result.

    Raises:
        ServerError: the SELECT is wrong.
    """
    lines = session.fetch(f"DESCRIBE ({select})", "JSONCompactEachRow").splitlines()
    columns = [json.loads(line) for line in lines]
    return Block.empty([column[0] for column in columns], [column[1] for column in columns])


def _describe_aside(engine: Engine, database: str, select: str) -> Block | None:
    """As `describe`, in a session of its own: another query would end the result that is being streamed.

    None when it can't be known there, as with the temporary tables of the client's session.
    """
    with contextlib.closing(engine.session(database)) as aside:
        try:
            return describe(aside, select)
        except ServerError:
            return None


def _open(native: bytes) -> Block | None:
    """The block taken apart; None when it holds a type whose length is unknown."""
    try:
        return read_native(_reader(native))
    except ServerError:
        return None


def _split(native: bytes) -> Generator[bytes, None, None]:
    reader = _reader(native)
    while not reader.at_end:
        yield read_native(reader).native()


def _nothing(session: EngineSession, statement: Statement) -> Block:
    """The names and types of a result without rows, for which the engine sends no block."""
    if statement.streamed:
        return describe(session, statement.sql)
    lines = session.fetch(statement.sql, "JSONCompactEachRowWithNamesAndTypes").splitlines()[:2]
    return Block.empty(*map(json.loads, lines)) if lines else Block.empty((), ())


def _reader(native: bytes) -> Reader:
    return Reader(io.BytesIO(native).read)
