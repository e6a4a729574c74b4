"""The running queries, and how to cancel one whose client has left."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable

from devstack.clickhouse_server.errors import Code, ServerError

_log = logging.getLogger(__name__)
_REPEAT_SECONDS = 0.05


class RunningQuery:
    """A query between its arrival and its end."""

    def __init__(self, query_id: str, ended: Callable[[RunningQuery], object]) -> None:
        """Create the entry of a query; `ended` is called by `end` and removes it from `RunningQueries`."""
        self.query_id = query_id
        self.cancelled = threading.Event()
        self.killed = threading.Event()
        self._ended = ended
        self._on_killed: Callable[[], object] = self._do_nothing

    def check(self) -> None:
        """Raise QUERY_WAS_CANCELLED once the query has been cancelled."""
        if self.cancelled.is_set():
            raise ServerError(Code.QUERY_WAS_CANCELLED, "Query was cancelled.")

    def end(self) -> None:
        """Record that the engine has finished the query. Idempotent."""
        self._ended(self)

    def on_killed(self, callback: Callable[[], object]) -> None:
        """Call `callback`, from another thread, when the engine has marked the query as cancelled."""
        self._on_killed = callback
        if self.killed.is_set():
            callback()

    def set_killed(self) -> None:
        """Record that the engine has marked the query as cancelled."""
        if not self.killed.is_set():
            self.killed.set()
            self._on_killed()

    @staticmethod
    def _do_nothing() -> None:
        """The callback until `on_killed` sets another one."""


class RunningQueries:
    """Keeps the running queries by id, and kills the cancelled ones until they are gone.

    It repeats the kill, because a kill that reaches the engine before the query itself has no effect.
    """

    def __init__(self, kill: Callable[[Iterable[str]], Iterable[str]]) -> None:
        """Start the thread that kills; `kill` cancels queries in the engine by id and returns the marked ids."""
        self._kill = kill
        self._running: dict[str, RunningQuery] = {}
        self._changed = threading.Condition()
        self._closing = False
        threading.Thread(target=self._end_cancelled, name="cancellation", daemon=True).start()

    def add(self, query_id: str) -> RunningQuery:
        """Register a query, with a generated id if the client gave none.

        Raises:
            ServerError: QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING, or QUERY_WAS_CANCELLED while the server stops.
        """
        query = RunningQuery(query_id or str(uuid.uuid4()), self._remove)
        with self._changed:
            if self._closing:
                raise ServerError(Code.QUERY_WAS_CANCELLED, "The server is stopping.")
            if query.query_id in self._running:
                raise ServerError(
                    Code.QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING,
                    f"Query with id = {query.query_id} is already running.",
                )
            self._running[query.query_id] = query
        return query

    def cancel(self, query: RunningQuery) -> None:
        """Cancel the query; return immediately, before it has ended."""
        with self._changed:
            query.cancelled.set()
            self._changed.notify_all()

    def cancel_ids(self, query_ids: Iterable[str]) -> None:
        """Cancel the queries with these ids; return immediately. Unknown ids are ignored."""
        with self._changed:
            for query in filter(None, map(self._running.get, query_ids)):
                query.cancelled.set()
            self._changed.notify_all()

    def close(self, grace: float, timeout: float) -> bool:
        """Accept no more queries, give the running ones `grace` seconds to finish, then cancel them.

        Returns:
            Whether all of them ended within another `timeout` seconds.
        """
        with self._changed:
            self._closing = True
            if self._changed.wait_for(lambda: not self._running, grace):
                return True
            self.cancel_ids(list(self._running))
            return self._changed.wait_for(lambda: not self._running, timeout)

    def _remove(self, query: RunningQuery) -> None:
        with self._changed:
            if self._running.get(query.query_id) is query:
                del self._running[query.query_id]
                self._changed.notify_all()

    def _end_cancelled(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._cancelled)
                queries = {query.query_id: query for query in self._cancelled()}
            try:
                for query_id in self._kill(queries):
                    queries[query_id].set_killed()
            except ServerError as error:
                _log.warning("Cannot kill %d cancelled queries, trying again: %s", len(queries), error)
            with self._changed:
                self._changed.wait(_REPEAT_SECONDS)

    def _cancelled(self) -> list[RunningQuery]:
        return [query for query in self._running.values() if query.cancelled.is_set()]
