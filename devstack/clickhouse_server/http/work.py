"""The engine's side of an HTTP query: what runs in a thread while the event loop carries bytes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from devstack.clickhouse_server.cancellation import RunningQuery
from devstack.clickhouse_server.engine import Engine
from devstack.clickhouse_server.http.pipe import ResultPipe
from devstack.clickhouse_server.http.request import QueryRequest
from devstack.clickhouse_server.http.sessions import Sessions
from devstack.clickhouse_server.kill import kill
from devstack.clickhouse_server.pipes import RowsPipe
from devstack.clickhouse_server.session import EngineSession, QueryStats
from devstack.clickhouse_server.sql import Kind, Statement


@dataclass(frozen=True)
class Server:
    """What all queries share."""

    engine: Engine
    sessions: Sessions
    pool: ThreadPoolExecutor


@dataclass(frozen=True)
class Work:
    """A query to be run in its session, with its settings and parameters."""

    server: Server
    asked: QueryRequest
    statement: Statement
    query: RunningQuery

    def run(self, pipe: ResultPipe) -> QueryStats:
        """Run the statement, its result into the pipe.

        Raises:
            ServerError: whatever the engine raised.
        """
        try:
            with self._in_session() as session:
                return self._run(session, pipe)
        finally:
            self.query.end()
            pipe.close_writing()

    def insert(self, pipe: RowsPipe) -> QueryStats:
        """Run the INSERT, its rows from the pipe; on return they are in the table.

        Raises:
            ServerError: whatever the engine raised.
        """
        try:
            with self._in_session() as session:
                return session.execute(self.statement.from_file(pipe.path))
        finally:
            self.query.end()
            pipe.close_reading()

    def _run(self, session: EngineSession, pipe: ResultPipe) -> QueryStats:
        statement, asked = self.statement, self.asked
        if statement.kind is Kind.COMMAND:
            return session.execute(statement.sql)
        if statement.kind is Kind.KILL:
            statement = kill(self.server.engine, statement)
        level = asked.compression_level
        return session.execute(statement.into_file(pipe.path, asked.default_format, asked.compression, level))

    @contextmanager
    def _in_session(self) -> Iterator[EngineSession]:
        """The query's session: its own, or the one it names."""
        asked = self.asked
        with ExitStack() as stack:
            if asked.session_id:
                session = self.server.sessions.acquire(asked.session_id, asked.database, asked.session_must_exist)
                release = self.server.sessions.release
                stack.callback(release, asked.session_id, asked.session_seconds, asked.close_session)
            else:
                session = self.server.engine.session(asked.database)
                stack.callback(session.close)
            stack.enter_context(session.running(self.query, asked.settings, asked.parameters))
            yield session
