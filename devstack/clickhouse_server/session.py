"""A session in the engine: the place where settings, parameters and temporary tables live."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import chdb
from chdb.session import Session

from devstack.clickhouse_server.cancellation import RunningQuery
from devstack.clickhouse_server.errors import from_engine
from devstack.clickhouse_server.sql import literal, quoted

QUERY_ID_SETTING = "query_cache_tag"
"""Carries the client's query id: a text the engine keeps with the query and uses for nothing but its query cache."""

_ENGINE_ERRORS = (RuntimeError, chdb.ChdbError)


@dataclass(frozen=True)
class QueryStats:
    """What the engine says about a finished query: counts of rows and bytes, and seconds."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    elapsed: float = 0.0


class EngineSession:
    """One client's session; runs one query at a time."""

    def __init__(self, session: Session, lasting: bool) -> None:
        """`lasting`: more queries follow, so that what is set for one must be undone after it."""
        self._session = session
        self._lasting = lasting
        self._database = ""

    def close(self) -> None:
        """Forget the session and its temporary tables."""
        self._session.close()

    def use(self, database: str) -> None:
        """Make `database` the current one.

        Raises:
            ServerError: UNKNOWN_DATABASE.
        """
        self._query(f"USE {quoted(database)}")

    @property
    def database(self) -> str:
        """The current database. Asking ends a result that is still being streamed."""
        if not self._database:
            self._database = self.fetch("SELECT currentDatabase()", "TSVRaw").decode().strip()
        return self._database

    @contextmanager
    def running(
        self, query: RunningQuery, settings: Mapping[str, str], parameters: Mapping[str, str]
    ) -> Iterator[None]:
        """Apply a query's settings and parameters, and undo the settings afterwards in a lasting session.

        Args:
            query: the query about to run.
            settings: values by name, as text.
            parameters: values by name for `{name:Type}`, with the escapes of TSV.

        Raises:
            ServerError: UNKNOWN_SETTING, or a value that doesn't fit.
        """
        undo = self._undo(settings) if self._lasting and settings else ""
        values = {**settings, **{f"param_{name}": value for name, value in parameters.items()}}
        values[QUERY_ID_SETTING] = query.query_id
        try:
            self._query("SET " + ", ".join(f"{quoted(name)} = {literal(value)}" for name, value in values.items()))
            query.check()
            yield
        finally:
            # What follows is no longer the query, and must not be killed in its place.
            query.end()
            if undo:
                self._query(undo)

    def execute(self, sql: str) -> QueryStats:
        """Run a statement to its end; a result goes where its INTO OUTFILE says.

        Raises:
            ServerError: whatever the engine raised.
        """
        self._database = ""  # the statement may be a USE
        result = self._query(sql, "Null")
        return QueryStats(
            read_rows=result.storage_rows_read(),
            read_bytes=result.storage_bytes_read(),
            written_rows=result.rows_written(),
            written_bytes=result.bytes_written(),
            result_rows=result.rows_read(),
            elapsed=result.elapsed(),
        )

    def fetch(self, sql: str, format_name: str) -> bytes:
        """Run a statement with a small result and return it.

        Raises:
            ServerError: whatever the engine raised.
        """
        return bytes(self._query(sql, format_name).bytes())

    def blocks(self, sql: str) -> Generator[bytes, None, None]:
        """Run a SELECT and yield its blocks in Native format as they come, none for an empty result.

        Raises:
            ServerError: whatever the engine raised, at once or between blocks.
        """
        try:
            with self._session.send_query(sql, "Native") as result:
                for chunk in result:
                    yield chunk.bytes()
        except _ENGINE_ERRORS as error:
            raise from_engine(error) from error

    def _undo(self, settings: Mapping[str, str]) -> str:
        """The SET that brings back what these settings are now; nothing when none of them is known."""
        names = ", ".join(literal(name) for name in settings)
        sql = f"SELECT name, value, changed FROM system.settings WHERE name IN ({names})"  # noqa: S608  literals
        known = [json.loads(line) for line in self.fetch(sql, "JSONCompactEachRow").splitlines()]
        values = [f"{quoted(name)} = {literal(value) if changed else 'DEFAULT'}" for name, value, changed in known]
        return "SET " + ", ".join(values) if values else ""

    def _query(self, sql: str, format_name: str = "Null") -> Any:
        try:
            return self._session.query(sql, format_name)
        except _ENGINE_ERRORS as error:
            raise from_engine(error) from error
