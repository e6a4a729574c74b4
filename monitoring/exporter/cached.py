"""Reading a server for scrapes: scrapes close together share one reading, and none waits longer than promised."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from offload_ops.timeouts import BackgroundWork

Value = TypeVar("Value")


class NotRead(Exception):
    """The server could not be read, or did not answer in time; the message says why."""


class Cached(Generic[Value]):
    """What `read` returned, at most `keep_seconds` old. Older values are never returned.

    At most one reading runs at a time: a server that accepts connections and never answers costs one thread, not one
    per scrape.
    """

    def __init__(self, read: Callable[[], Value], keep_seconds: float, timeout_seconds: float) -> None:
        self._read = read
        self._keep_seconds = keep_seconds
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._reading: BackgroundWork[Value] | None = None

    def get(self) -> Value:
        """The value, read now unless it was just read.

        Raises:
            NotRead: the server could not be read, or did not answer in time.
        """
        with self._lock:
            reading = self._reading
            if reading is None or self._is_stale(reading):
                reading = self._reading = BackgroundWork(self._read)
        if not reading.wait(self._timeout_seconds):
            raise NotRead(f"no answer within {self._timeout_seconds:g} seconds")
        try:
            return reading.result()
        except Exception as error:  # whatever it is, the scrape reports that there are no values
            raise NotRead(" ".join(str(error).split()) or type(error).__name__) from error

    def _is_stale(self, reading: BackgroundWork[Value]) -> bool:
        """Whether it ended too long ago. A failed one is kept too: not every scrape queries a server that is down."""
        return reading.ended_at is not None and time.monotonic() - reading.ended_at >= self._keep_seconds
