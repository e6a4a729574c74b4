"""Which queries run, and how to end one that nobody waits for any more."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable

from embedded.clickhouse.errors import Code, ServerError

_log = logging.getLogger(__name__)
_REPEAT_SECONDS = 0.05


class RunningQuery:
    """A query between its arrival and its end."""

    def __init__(self, query_id: str) -> None:
        """Make up an id where the client gave none."""
        self.query_id = query_id or str(uuid.uuid4())
        self.cancelled = threading.Event()

    def check(self) -> None:
        """Raise QUERY_WAS_CANCELLED once the query has been cancelled."""
        if self.cancelled.is_set():
            raise ServerError(Code.QUERY_WAS_CANCELLED, "Query was cancelled.")


class RunningQueries:
    """Keeps the running queries by their id, and kills the cancelled ones until they are gone.

    A kill that reaches the engine before the query itself finds nothing: hence the repetition.
    """

    def __init__(self, kill: Callable[[Iterable[str]], None]) -> None:
        """`kill` tells the engine to end the queries with these ids, without waiting for their end."""
        self._kill = kill
        self._running: dict[str, RunningQuery] = {}
        self._changed = threading.Condition()
        self._closing = False
        threading.Thread(target=self._end_cancelled, name="cancellation", daemon=True).start()

    def add(self, query_id: str) -> RunningQuery:
        """Register a query.

        Raises:
            ServerError: QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING, or QUERY_WAS_CANCELLED while the server stops.
        """
        query = RunningQuery(query_id)
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

    def remove(self, query: RunningQuery) -> None:
        """The query has ended. Idempotent."""
        with self._changed:
            if self._running.get(query.query_id) is query:
                del self._running[query.query_id]
                self._changed.notify_all()

    def cancel(self, query: RunningQuery) -> None:
        """End the query soon; returns at once."""
        with self._changed:
            query.cancelled.set()
            self._changed.notify_all()

    def close(self, grace: float, timeout: float) -> bool:
        """Take no more queries, give the running ones `grace` seconds to finish, then cancel them.

        Returns:
            True when all had ended within `timeout` seconds more.
        """
        with self._changed:
            self._closing = True
            if self._changed.wait_for(lambda: not self._running, grace):
                return True
            for query in self._running.values():
                query.cancelled.set()
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._running, timeout)

    def _end_cancelled(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: any(q.cancelled.is_set() for q in self._running.values()))
                ids = [query.query_id for query in self._running.values() if query.cancelled.is_set()]
            try:
                self._kill(ids)
            except ServerError as error:
                _log.warning("Cannot end %d cancelled queries, trying again: %s", len(ids), error)
            with self._changed:
                self._changed.wait(_REPEAT_SECONDS)
