"""A session in the engine, which holds settings, parameters and temporary tables."""

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
from offload_core.source.quoting import quote_identifier, quote_text

QUERY_ID_SETTING = "query_cache_tag"
"""The setting that carries the client's query id: the engine uses it only for its query cache."""

_ENGINE_ERRORS = (RuntimeError, chdb.ChdbError)


@dataclass(frozen=True)
class QueryStats:
    """The engine's statistics of a finished query: counts of rows and bytes, and seconds."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    elapsed: float = 0.0


class EngineSession:
    """One client's session; runs one query at a time."""

    def __init__(self, session: Session, lasting: bool) -> None:
        """Wrap an engine session; `lasting` means that several queries use it, so that each undoes its settings."""
        self._session = session
        self._lasting = lasting
        self._database = ""

    def close(self) -> None:
        """Close the session and drop its temporary tables."""
        self._session.close()

    def use(self, database: str) -> None:
        """Make `database` the current one.

        Raises:
            ServerError: UNKNOWN_DATABASE.
        """
        self._query(f"USE {quote_identifier(database)}")

    @property
    def database(self) -> str:
        """The current database. Reading it ends a result that is still being streamed."""
        if not self._database:
            self._database = self.fetch("SELECT currentDatabase()", "TSVRaw").decode().strip()
        return self._database

    @contextmanager
    def running(
        self, query: RunningQuery, settings: Mapping[str, str], parameters: Mapping[str, str]
    ) -> Iterator[None]:
        """Apply a query's settings and parameters; in a lasting session, undo the settings afterwards.

        Args:
            query: the query about to run.
            settings: values by name, as text.
            parameters: values by name for `{name:Type}`, with the escapes of TSV.

        Raises:
            ServerError: UNKNOWN_SETTING, or an invalid value.
        """
        undo = self._undo(settings) if self._lasting and settings else ""
        values = {**settings, **{f"param_{name}": value for name, value in parameters.items()}}
        values[QUERY_ID_SETTING] = query.query_id
        try:
            assignments = (f"{quote_identifier(name)} = {quote_text(value)}" for name, value in values.items())
            self._query("SET " + ", ".join(assignments))
            query.check()
            yield
        finally:
            # The next statement is not the query any more, and must not be killed in its place.
            query.end()
            if undo:
                self._query(undo)

    def execute(self, sql: str) -> QueryStats:
        """Run a statement to its end; its INTO OUTFILE clause says where a result goes.

        Raises:
            ServerError: the engine refused or failed the statement.
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
            ServerError: the engine refused or failed the statement.
        """
        return bytes(self._query(sql, format_name).bytes())

    def blocks(self, sql: str) -> Generator[bytes, None, None]:
        """Run a SELECT and yield its blocks in Native format; an empty result has no block.

        Raises:
            ServerError: the engine refused the statement, or failed between blocks.
        """
        try:
            with self._session.send_query(sql, "Native") as result:
                for chunk in result:
                    yield chunk.bytes()
        except _ENGINE_ERRORS as error:
            raise from_engine(error) from error

    def _undo(self, settings: Mapping[str, str]) -> str:
        """The SET statement that restores the current values of these settings; empty if none of them exists."""
        names = ", ".join(quote_text(name) for name in settings)
        sql = f"SELECT name, value, changed FROM system.settings WHERE name IN ({names})"  # noqa: S608 - literals
        known = [json.loads(line) for line in self.fetch(sql, "JSONCompactEachRow").splitlines()]
        values = [
            f"{quote_identifier(name)} = {quote_text(value) if changed else 'DEFAULT'}"
            for name, value, changed in known
        ]
        return "SET " + ", ".join(values) if values else ""

    def _query(self, sql: str, format_name: str = "Null") -> Any:
        try:
            return self._session.query(sql, format_name)
        except _ENGINE_ERRORS as error:
            raise from_engine(error) from error
