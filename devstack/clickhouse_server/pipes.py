"""Pipes between this server and the engine, which reads and writes files by name and nothing else."""

from __future__ import annotations

import contextlib
import fcntl
import os

SIZE = 1 << 20


def make_pipe() -> tuple[int, int]:
    """The reading and the writing end of a pipe, as large as the system lets an ordinary user have it."""
    ends = os.pipe()
    with contextlib.suppress(PermissionError):  # the user's share of pipe memory is used up: it stays small
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, SIZE)
    return ends


def path_of(descriptor: int) -> str:
    """The name by which the engine, in the same process, opens an end of its own."""
    return f"/proc/self/fd/{descriptor}"


class RowsPipe:
    """Rows on their way into the engine, which opens `path` and reads.

    The end of the pipe is the end of the INSERT: what the engine has read by then is committed. An INSERT that must not
    be committed has to be killed before the writing end is closed.
    """

    def __init__(self) -> None:
        """Make the pipe."""
        self._read_fd, self._write_fd = make_pipe()
        self.path = path_of(self._read_fd)

    def write(self, data: bytes) -> None:
        """Hand over the next bytes; waits while the pipe is full.

        Raises:
            BrokenPipeError: the engine reads no more, because the INSERT failed.
        """
        view = memoryview(data)
        while view:
            view = view[os.write(self._write_fd, view) :]

    def close_writing(self) -> None:
        """No more rows come. Idempotent; only for the thread that writes."""
        if self._write_fd >= 0:
            os.close(self._write_fd)
            self._write_fd = -1

    def close_reading(self) -> None:
        """The engine is done with the INSERT: whoever still writes is told so. Called once."""
        os.close(self._read_fd)
