"""The blocks of a result, as clients of the native protocol expect them."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
from collections.abc import Generator

from devstack.clickhouse_server.engine import Engine
from devstack.clickhouse_server.errors import ServerError
from devstack.clickhouse_server.native.block import Block, read_native
from devstack.clickhouse_server.native.wire import WireReader
from devstack.clickhouse_server.session import EngineSession
from devstack.clickhouse_server.sql import Statement

# The engine's Native format omits the zone of such a column, and clients would assume their own.
_TYPE_WITHOUT_ZONE = "DateTime"


def result_blocks(engine: Engine, session: EngineSession, statement: Statement) -> Generator[bytes, None, None]:
    """Run a statement and yield its result: a block without rows, with names and types, then the blocks with rows.

    Raises:
        ServerError: the engine refused the statement, or failed between blocks.
    """
    database = session.database
    text = f"{statement.sql} {statement.tail}"
    blocks = session.blocks(text) if statement.streamed else _split(session.fetch(text, "Native"))
    with contextlib.closing(blocks):
        first = next(blocks, None)
        if first is None:
            yield _empty_result(session, statement).native()
            return
        opened, described = _open(first), None
        if statement.streamed and (opened is None or _TYPE_WITHOUT_ZONE in opened.types):
            described = _describe_aside(engine, database, statement.sql)
        header = described or opened
        if header:
            yield Block.empty(header.names, header.types).native()
        for block in itertools.chain([first], blocks):
            yield read_native(_reader(block)).with_types(described.types).native() if described and opened else block


def describe(session: EngineSession, select: str) -> Block:
    """Return a block without rows that has the names and types of a SELECT's result.

    Raises:
        ServerError: the SELECT is wrong.
    """
    lines = session.fetch(f"DESCRIBE ({select})", "JSONCompactEachRow").splitlines()
    columns = [json.loads(line) for line in lines]
    return Block.empty([column[0] for column in columns], [column[1] for column in columns])


def _describe_aside(engine: Engine, database: str, select: str) -> Block | None:
    """Call `describe` in a new session, because another query would end the result that is being streamed.

    Return None if that fails, as it does for temporary tables of the client's session.
    """
    with contextlib.closing(engine.session(database)) as aside:
        try:
            return describe(aside, select)
        except ServerError:
            return None


def _open(native: bytes) -> Block | None:
    """The parsed block; None if it contains a type whose length is unknown."""
    try:
        return read_native(_reader(native))
    except ServerError:
        return None


def _split(native: bytes) -> Generator[bytes, None, None]:
    reader = _reader(native)
    while not reader.at_end:
        yield read_native(reader).native()


def _empty_result(session: EngineSession, statement: Statement) -> Block:
    """A block with the names and types of an empty result, for which the engine sends no block."""
    if statement.streamed:
        return describe(session, statement.sql)
    lines = session.fetch(statement.sql, "JSONCompactEachRowWithNamesAndTypes").splitlines()[:2]
    return Block.empty(*map(json.loads, lines)) if lines else Block.empty((), ())


def _reader(native: bytes) -> WireReader:
    return WireReader(io.BytesIO(native).read)
