"""The event loop's ends of the engine's pipes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from devstack.clickhouse_server.pipes import SIZE, RowsPipe, make_pipe, path_of


class ResultPipe:
    """A pipe for a result: the engine opens `path` and writes, the event loop reads.

    The result uses only the pipe's own memory, and a slow reader slows down the engine.
    """

    def __init__(self) -> None:
        """Create the pipe."""
        self._read_fd, self._write_fd = make_pipe()
        os.set_blocking(self._read_fd, False)
        self.path = path_of(self._write_fd)

    async def read(self) -> bytes:
        """Return the next bytes, at most 1 MiB; no bytes at the end of the result."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return os.read(self._read_fd, SIZE)
            except BlockingIOError:
                await _wait_for_event(self._read_fd, loop.add_reader, loop.remove_reader)

    def close_writing(self) -> None:
        """End the result for the reader. Called once, from any thread."""
        os.close(self._write_fd)

    def close_reading(self) -> None:
        """Stop reading, so that the engine's next write fails. Idempotent."""
        if self._read_fd >= 0:
            os.close(self._read_fd)
            self._read_fd = -1


class AsyncRowsPipe(RowsPipe):
    """A `RowsPipe` that the event loop writes to."""

    def __init__(self) -> None:
        """Create the pipe."""
        super().__init__()
        os.set_blocking(self._write_fd, False)

    async def send(self, data: bytes) -> None:
        """Write the next bytes; wait while the pipe is full.

        Raises:
            BrokenPipeError: the engine has stopped reading, because the INSERT failed.
        """
        loop = asyncio.get_running_loop()
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._write_fd, view) :]
            except BlockingIOError:
                await _wait_for_event(self._write_fd, loop.add_writer, loop.remove_writer)


async def _wait_for_event(descriptor: int, add: Callable[..., None], remove: Callable[[int], bool]) -> None:
    """Wait until the descriptor can be read or written."""
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    add(descriptor, _resolve, ready)
    try:
        await ready
    finally:
        remove(descriptor)


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
