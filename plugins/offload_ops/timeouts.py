"""Work that must not hold up the caller."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_Result = TypeVar("_Result")


def within(seconds: float, work: Callable[[], _Result]) -> _Result:
    """Do something in a thread, and wait for it no longer than this.

    What takes longer is left behind; it ends with the process, which does not wait for it.

    Raises:
        TimeoutError: it was not done in time.
        Exception: what the work raised.
    """
    thread = _Work(work)
    thread.start()
    thread.join(seconds)
    return thread.result(seconds)


class _Work(threading.Thread, Generic[_Result]):
    def __init__(self, work: Callable[[], _Result]) -> None:
        super().__init__(name="within", daemon=True)
        self._work = work
        self._results: list[_Result] = []
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            self._results.append(self._work())
        except Exception as error:  # raised again by `result`
            self._error = error

    def result(self, seconds: float) -> _Result:
        if self._error is not None:
            raise self._error
        if not self._results:
            raise TimeoutError(f"It took longer than {seconds:g} seconds.")
        return self._results[0]
