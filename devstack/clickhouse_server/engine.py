"""The engine in this process: one per process, on one folder."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from chdb.session import Session

from devstack.clickhouse_server.cancellation import RunningQueries
from devstack.clickhouse_server.errors import InUseError, ServerError, from_engine
from devstack.clickhouse_server.session import QUERY_ID_SETTING, EngineSession
from devstack.clickhouse_server.sql import PROCESSES_VIEW
from offload_core.source.quoting import quote_identifier, quote_text

_CACHE_SHARE = 16

_CONFIG = """<clickhouse>
    <max_server_memory_usage>{memory}</max_server_memory_usage>
    <mark_cache_size>{cache}</mark_cache_size>
    <primary_index_cache_size>{cache}</primary_index_cache_size>
    <parquet_metadata_cache_size>{cache}</parquet_metadata_cache_size>
    <background_schedule_pool_size>16</background_schedule_pool_size>
</clickhouse>
"""
# The engine accepts no query id from outside. The client's id travels in a setting, and this view shows it in place of
# the engine's own.
_PROCESSES = f"""CREATE VIEW system.{PROCESSES_VIEW} AS
SELECT * EXCEPT (given), if(given = '', engine_query_id, given) AS query_id
FROM (SELECT * EXCEPT (query_id), query_id AS engine_query_id, Settings['{QUERY_ID_SETTING}'] AS given
      FROM system.processes)"""  # noqa: S608 - two constants


class Engine:
    """The ClickHouse engine on one folder, with its default database."""

    def __init__(self, path: Path, database: str, max_memory: int) -> None:
        """Load the tables in `path` and create the database if it is missing.

        Args:
            path: data folder, created if missing.
            database: default database.
            max_memory: bytes all queries together may use; a query that would exceed it fails with error 241.

        Raises:
            InUseError: another process has the folder open.
            ServerError: the engine can't start on this folder.
        """
        self.path = path
        self.database = database
        self._file = _lock(path)
        config = path / "gateway-config.xml"
        config.write_text(_CONFIG.format(memory=int(max_memory), cache=max(int(max_memory) // _CACHE_SHARE, 1 << 20)))
        self._root = _start(path, config)
        self._lock = threading.Lock()
        self._root.query(f"CREATE DATABASE IF NOT EXISTS {quote_identifier(database)}")
        self._root.query(_PROCESSES)
        self.version = self.control("SELECT version()").strip()
        self.timezone = self.control("SELECT timezone()").strip()
        self.queries = RunningQueries(self._kill)

    def session(self, database: str | None = None, lasting: bool = False) -> EngineSession:
        """Open a session in `database` (default: the server's).

        Args:
            database: the session's current database.
            lasting: whether several queries use the session, so that a query's settings must be undone after it.

        Raises:
            ServerError: UNKNOWN_DATABASE.
        """
        session = EngineSession(Session(str(self.path)), lasting)
        try:
            session.use(database or self.database)
        except ServerError:
            session.close()
            raise
        return session

    def control(self, sql: str) -> str:
        """Run a small query for the server itself and return its result as text.

        Raises:
            ServerError: the engine refused or failed the query.
        """
        with self._lock:
            try:
                return str(self._root.query(sql, "TSVRaw"))
            except RuntimeError as error:
                raise from_engine(error) from error

    def kill(self, engine_ids: Iterable[str]) -> None:
        """Cancel queries by the engine's ids, without waiting for their end."""
        ids = ", ".join(quote_text(engine_id) for engine_id in engine_ids)
        if ids:
            self.control(f"KILL QUERY WHERE query_id IN ({ids}) ASYNC")

    def _kill(self, query_ids: Iterable[str]) -> Iterable[str]:
        ids = ", ".join(quote_text(query_id) for query_id in query_ids)
        processes = f"FROM system.{PROCESSES_VIEW} WHERE query_id IN ({ids})"
        self.kill(self.control(f"SELECT engine_query_id {processes} AND NOT is_cancelled").split())
        found = self.control(f"SELECT DISTINCT query_id {processes} AND is_cancelled FORMAT JSONCompactEachRow")
        return [json.loads(line)[0] for line in found.splitlines()]


def _lock(path: Path) -> IO[str]:
    """Lock the folder for this process; the system releases the lock when the process ends, even by a crash."""
    path.mkdir(parents=True, exist_ok=True)
    file = (path / "gateway.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        raise InUseError(
            f"The folder {path} is in use by another process ({owner}). Stop that process, or choose another --path."
        ) from error
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _start(path: Path, config: Path) -> Session:
    try:
        return Session(f"{path}?config-file={config}")
    except RuntimeError as error:
        raise from_engine(error) from error
