"""Work that must not hold up its caller: it runs in a thread that the process does not wait for when it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

_Result = TypeVar("_Result")


def run_with_timeout(seconds: float, work: Callable[[], _Result]) -> _Result:
    """Run some work in a thread and return its result. Work that takes longer is left behind.

    Args:
        seconds: the time limit.
        work: the work.

    Raises:
        TimeoutError: the work did not end in time.
        Exception: the work raised it.
    """
    running = BackgroundWork(work)
    if not running.wait(seconds):
        raise TimeoutError(f"It took longer than {seconds:g} seconds.")
    return running.result()


class BackgroundWork(Generic[_Result]):
    """Work that starts at once in a daemon thread. Several can run side by side, and several callers can wait for one.

    Attributes:
        ended_at: when it ended, on `time.monotonic`; None while it runs.
    """

    def __init__(self, work: Callable[[], _Result]) -> None:
        self.ended_at: float | None = None
        self._work = work
        self._results: list[_Result] = []
        self._error: Exception | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="background work", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait for the end, but at most this long. Returns whether it has ended."""
        return self._ended.wait(seconds)

    def result(self) -> _Result:
        """The result of work that has ended. Raises what the work raised."""
        if self._error is not None:
            raise self._error
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except Exception as error:  # `result` raises it in the caller's thread
            self._error = error
        self.ended_at = time.monotonic()
        self._ended.set()
