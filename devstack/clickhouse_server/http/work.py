"""The engine's side of an HTTP query, which runs in a thread while the event loop moves the bytes."""

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
class QueryResources:
    """The objects that all queries share."""

    engine: Engine
    sessions: Sessions
    pool: ThreadPoolExecutor


@dataclass(frozen=True)
class QueryWork:
    """A query to run in its session, with its settings and parameters."""

    resources: QueryResources
    request: QueryRequest
    statement: Statement
    query: RunningQuery

    def run(self, pipe: ResultPipe) -> QueryStats:
        """Run the statement and write its result into the pipe.

        Raises:
            ServerError: the engine refused or failed the statement.
        """
        try:
            with self._in_session() as session:
                return self._run(session, pipe)
        finally:
            self.query.end()
            pipe.close_writing()

    def insert(self, pipe: RowsPipe) -> QueryStats:
        """Run the INSERT with the rows from the pipe; on return they are in the table.

        Raises:
            ServerError: the engine refused or failed the INSERT.
        """
        try:
            with self._in_session() as session:
                return session.execute(self.statement.from_file(pipe.path))
        finally:
            self.query.end()
            pipe.close_reading()

    def _run(self, session: EngineSession, pipe: ResultPipe) -> QueryStats:
        statement, request = self.statement, self.request
        if statement.kind is Kind.COMMAND:
            return session.execute(statement.sql)
        if statement.kind is Kind.KILL:
            statement = kill(self.resources.engine, statement)
        level = request.compression_level
        return session.execute(statement.into_file(pipe.path, request.default_format, request.compression, level))

    @contextmanager
    def _in_session(self) -> Iterator[EngineSession]:
        """The session that the query names, or else a new one."""
        request = self.request
        with ExitStack() as stack:
            if request.session_id:
                session = self.resources.sessions.acquire(
                    request.session_id, request.database, request.session_must_exist
                )
                release = self.resources.sessions.release
                stack.callback(release, request.session_id, request.session_seconds, request.close_session)
            else:
                session = self.resources.engine.session(request.database)
                stack.callback(session.close)
            stack.enter_context(session.running(self.query, request.settings, request.parameters))
            yield session
