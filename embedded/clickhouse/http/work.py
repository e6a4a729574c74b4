"""The engine's side of an HTTP query: what runs in a thread while the event loop carries bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from embedded.clickhouse.cancellation import RunningQuery
from embedded.clickhouse.engine import Engine
from embedded.clickhouse.errors import Code, ServerError
from embedded.clickhouse.http.pipe import ResultPipe
from embedded.clickhouse.http.request import QueryRequest
from embedded.clickhouse.http.sessions import Sessions
from embedded.clickhouse.kill import kill
from embedded.clickhouse.session import EngineSession, Insert, QueryStats
from embedded.clickhouse.sql import Kind, Statement


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
            with self.in_session() as session:
                return self._run(session, pipe)
        finally:
            self.server.engine.queries.remove(self.query)
            pipe.close_writing()

    @contextmanager
    def in_session(self) -> Iterator[EngineSession]:
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

    def _run(self, session: EngineSession, pipe: ResultPipe) -> QueryStats:
        statement, asked = self.statement, self.asked
        if statement.kind is Kind.COMMAND:
            return session.execute(statement.sql)
        if statement.kind is Kind.KILL:
            statement = kill(self.server.engine, statement)
        level = asked.compression_level
        return session.execute(statement.into_file(pipe.path, asked.default_format, asked.compression, level))


class InsertWork:
    """An INSERT whose rows come piece by piece.

    The methods wait for each other: `end`, called because the client went away, lets a running `append` come to its end.
    """

    def __init__(self, work: Work) -> None:
        """Nothing runs yet."""
        self._work = work
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._insert: Insert | None = None

    def begin(self) -> None:
        """Open the session and the table.

        Raises:
            ServerError: UNKNOWN_TABLE, UNKNOWN_FORMAT and the like.
        """
        with self._lock:
            session = self._stack.enter_context(self._work.in_session())
            statement = self._work.statement
            self._insert = session.insert(statement.sql, statement.format or self._work.asked.default_format)
            self._stack.callback(self._insert.cancel)

    def append(self, rows: bytes) -> None:
        """Hand over the next bytes.

        Raises:
            ServerError: the engine can't read them, or the query was cancelled.
        """
        with self._lock:
            self._work.query.check()
            self._opened().append(rows)

    def finish(self) -> QueryStats:
        """Write what is left; on return the rows are in the table.

        Raises:
            ServerError: the engine can't read or write the rows.
        """
        with self._lock:
            self._work.query.check()
            return self._opened().finish()

    def end(self) -> None:
        """Close what `begin` opened; rows that are not in the table yet are dropped unless `finish` returned."""
        with self._lock:
            self._work.server.engine.queries.remove(self._work.query)
            self._stack.close()

    def _opened(self) -> Insert:
        if self._insert is None:
            raise ServerError(Code.QUERY_WAS_CANCELLED, "Query was cancelled.")
        return self._insert
