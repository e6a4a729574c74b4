"""A look at a server that is shared by scrapes close together, and never waited for longer than promised."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class NotRead(Exception):
    """The server could not be read, or did not answer in time; the message says why."""


class Cached(Generic[Value]):
    """What `look` returned, at most `keep_seconds` old.

    At most one look is under way at a time: a server that accepts and then says nothing costs one thread, not one for each scrape. What
    is older is never returned, whatever happened since.
    """

    def __init__(self, look: Callable[[], Value], keep_seconds: float, timeout_seconds: float) -> None:
        self._look = look
        self._keep_seconds = keep_seconds
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._running: _Look[Value] | None = None

    def get(self) -> Value:
        """The value, read now unless it was just read.

        Raises:
            NotRead: there is none that is fresh.
        """
        with self._lock:
            look = self._running
            if look is None or look.is_older_than(self._keep_seconds):
                look = self._running = _Look(self._look)
        if not look.ended.wait(self._timeout_seconds):
            raise NotRead(f"no answer within {self._timeout_seconds:g} seconds")
        return look.result()


class _Look(Generic[Value]):
    """One look, in a thread that the process does not wait for when it ends."""

    def __init__(self, look: Callable[[], Value]) -> None:
        self._do = look
        self._value: list[Value] = []
        self._error: Exception | None = None
        self._ended_at = 0.0
        self.ended = threading.Event()
        threading.Thread(target=self._run, name="look", daemon=True).start()

    def is_older_than(self, seconds: float) -> bool:
        """Whether it ended, and longer ago than this. A failed one counts too: a server that is down is not asked at every scrape."""
        return self.ended.is_set() and time.monotonic() - self._ended_at >= seconds

    def result(self) -> Value:
        """What it returned. Raises NotRead if it failed."""
        if self._error is not None:
            raise NotRead(" ".join(str(self._error).split()) or type(self._error).__name__) from self._error
        return self._value[0]

    def _run(self) -> None:
        try:
            self._value.append(self._do())
        except Exception as error:  # whatever it is, the scrape tells that there are no figures
            self._error = error
        self._ended_at = time.monotonic()
        self.ended.set()
