"""External tables: small tables that a client sends with a query and that exist while the query runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from devstack.clickhouse_server.cancellation import RunningQuery
from devstack.clickhouse_server.native.block import Block
from devstack.clickhouse_server.native.insert import NativeInsert
from devstack.clickhouse_server.session import EngineSession
from devstack.clickhouse_server.sql import parse
from offload_core.source.quoting import quote_identifier


@dataclass(frozen=True)
class ExternalBlock:
    """A block of rows of an external table."""

    table: str
    block: Block


@contextmanager
def external_tables(session: EngineSession, query: RunningQuery, blocks: Sequence[ExternalBlock]) -> Iterator[None]:
    """Keep the blocks as temporary tables of the session while the context lasts.

    Raises:
        ServerError: a name or type is wrong, or the session already has a temporary table of that name.
    """
    with ExitStack() as stack:
        for table in dict.fromkeys(external.table for external in blocks):
            mine = [external.block for external in blocks if external.table == table]
            columns = ", ".join(f"{quote_identifier(n)} {t}" for n, t in zip(mine[0].names, mine[0].types, strict=True))
            session.execute(f"CREATE TEMPORARY TABLE {quote_identifier(table)} ({columns}) ENGINE = Memory")
            stack.callback(session.execute, f"DROP TEMPORARY TABLE {quote_identifier(table)}")
            statement = parse(f"INSERT INTO {quote_identifier(table)} VALUES".encode())
            insert = NativeInsert(session, query, statement.from_file)
            for block in mine:
                insert.append(block)
            insert.finish()
        yield
