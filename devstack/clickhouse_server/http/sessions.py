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
class _Kept:
    session: EngineSession
    expires: float
    busy: bool = True


class Sessions:
    """Sessions by id; one that is idle for longer than its timeout is closed. Usable from any thread."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._engine = engine
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def acquire(self, session_id: str, database: str, must_exist: bool) -> EngineSession:
        """Take the session, making it if need be; `release` gives it back.

        Raises:
            ServerError: SESSION_IS_LOCKED while another query uses it, SESSION_NOT_FOUND, UNKNOWN_DATABASE.
        """
        with self._lock:
            kept = self._kept.get(session_id)
            if kept is None:
                if must_exist:
                    raise ServerError(Code.SESSION_NOT_FOUND, f"Session {session_id} not found.")
                kept = _Kept(self._engine.session(lasting=True), 0.0)
                self._kept[session_id] = kept
            elif kept.busy:
                raise ServerError(Code.SESSION_IS_LOCKED, f"Session {session_id} is locked by a concurrent client.")
            kept.busy = False
            if database:
                kept.session.use(database)
            kept.busy = True
            return kept.session

    def release(self, session_id: str, seconds: int, close: bool) -> None:
        """Give the session back, for good with `close`."""
        with self._lock:
            kept = self._kept[session_id]
            kept.busy = False
            kept.expires = self._clock() + seconds
            if close:
                self._drop(session_id)

    def reap(self) -> None:
        """Close the sessions whose time is over."""
        now = self._clock()
        with self._lock:
            for session_id in [key for key, kept in self._kept.items() if not kept.busy and kept.expires <= now]:
                self._drop(session_id)

    def __len__(self) -> int:
        """How many sessions are kept."""
        return len(self._kept)

    def _drop(self, session_id: str) -> None:
        self._kept.pop(session_id).session.close()


@asynccontextmanager
async def reaping(sessions: Sessions, every: float) -> AsyncIterator[None]:
    """Reap the sessions every so many seconds while the context lasts."""

    async def forever() -> None:
        while True:
            await asyncio.sleep(every)
            await asyncio.to_thread(sessions.reap)

    task = asyncio.create_task(forever())
    try:
        yield
    finally:
        task.cancel()
