"""The pipe through which the engine's threads hand a result to the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os

_CHUNK = 1 << 20


class ResultPipe:
    """The engine opens `path` and writes; the event loop reads.

    The result costs no memory but the pipe's own, and a slow reader holds the engine back.
    """

    def __init__(self) -> None:
        """Make the pipe as large as the system lets an ordinary user have it."""
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        with contextlib.suppress(PermissionError):  # the user's share of pipe memory is used up: it stays small
            fcntl.fcntl(self._write_fd, fcntl.F_SETPIPE_SZ, _CHUNK)
        self.path = f"/proc/self/fd/{self._write_fd}"

    async def read(self) -> bytes:
        """The next bytes, at most 1 MiB; none at the end of the result."""
        while True:
            try:
                return os.read(self._read_fd, _CHUNK)
            except BlockingIOError:
                await self._readable()

    def close_writing(self) -> None:
        """The engine is done: the reader meets the end. Called once, from any thread."""
        os.close(self._write_fd)

    def close_reading(self) -> None:
        """Nobody reads any more: the engine's next write fails. Idempotent."""
        if self._read_fd >= 0:
            os.close(self._read_fd)
            self._read_fd = -1

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._read_fd, lambda: ready.done() or ready.set_result(None))
        try:
            await ready
        finally:
            loop.remove_reader(self._read_fd)
