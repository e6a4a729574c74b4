"""HTTP sessions: settings and temporary tables that outlive a request."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from devstack.clickhouse_server.engine import Engine
from devstack.clickhouse_server.errors import Code, ServerError
from devstack.clickhouse_server.session import EngineSession


@dataclass
class _Entry:
    session: EngineSession
    expires: float
    busy: bool = True


class Sessions:
    """Sessions by id; `reap` closes those that were idle longer than their timeout. Thread-safe."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        """Create an empty collection; `clock` returns seconds."""
        self._engine = engine
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    def acquire(self, session_id: str, database: str, must_exist: bool) -> EngineSession:
        """Take the session, creating it if necessary; `release` gives it back.

        Raises:
            ServerError: SESSION_IS_LOCKED while another query uses it, SESSION_NOT_FOUND, UNKNOWN_DATABASE.
        """
        with self._lock:
            entry = self._entries.get(session_id)
            if entry is None:
                if must_exist:
                    raise ServerError(Code.SESSION_NOT_FOUND, f"Session {session_id} not found.")
                entry = _Entry(self._engine.session(lasting=True), 0.0)
                self._entries[session_id] = entry
            elif entry.busy:
                raise ServerError(Code.SESSION_IS_LOCKED, f"Session {session_id} is locked by a concurrent client.")
            # Not busy until the database is selected: an unknown database must not leave the session locked.
            entry.busy = False
            if database:
                entry.session.use(database)
            entry.busy = True
            return entry.session

    def release(self, session_id: str, seconds: int, close: bool) -> None:
        """Give the session back; close it if `close` is true."""
        with self._lock:
            entry = self._entries[session_id]
            entry.busy = False
            entry.expires = self._clock() + seconds
            if close:
                self._drop(session_id)

    def reap(self) -> None:
        """Close the sessions whose timeout has passed."""
        now = self._clock()
        with self._lock:
            for session_id in [key for key, entry in self._entries.items() if not entry.busy and entry.expires <= now]:
                self._drop(session_id)

    def __len__(self) -> int:
        """Return the number of open sessions."""
        return len(self._entries)

    def _drop(self, session_id: str) -> None:
        self._entries.pop(session_id).session.close()


@asynccontextmanager
async def reaping(sessions: Sessions, every: float) -> AsyncIterator[None]:
    """Reap the sessions every `every` seconds while the context lasts."""

    async def forever() -> None:
        while True:
            await asyncio.sleep(every)
            await asyncio.to_thread(sessions.reap)

    task = asyncio.create_task(forever())
    try:
        yield
    finally:
        task.cancel()
