"""Pipes between this server and the engine, which can only read and write files by name."""

from __future__ import annotations

import contextlib
import fcntl
import os

SIZE = 1 << 20


def make_pipe() -> tuple[int, int]:
    """Create a pipe as large as the system allows an ordinary user, and return its read end and its write end."""
    ends = os.pipe()
    with contextlib.suppress(PermissionError):  # the user's pipe memory is used up: the pipe stays small
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, SIZE)
    return ends


def path_of(descriptor: int) -> str:
    """Return the name by which the engine, in the same process, opens its end."""
    return f"/proc/self/fd/{descriptor}"


class RowsPipe:
    """A pipe for rows to the engine, which opens `path` and reads.

    The end of the pipe is the end of the INSERT: the engine commits what it has read. An INSERT that must not be
    committed has to be killed before the write end is closed.
    """

    def __init__(self) -> None:
        """Create the pipe."""
        self._read_fd, self._write_fd = make_pipe()
        self.path = path_of(self._read_fd)

    def write(self, data: bytes) -> None:
        """Write the next bytes; wait while the pipe is full.

        Raises:
            BrokenPipeError: the engine has stopped reading, because the INSERT failed.
        """
        view = memoryview(data)
        while view:
            view = view[os.write(self._write_fd, view) :]

    def close_writing(self) -> None:
        """End the rows. Idempotent; only for the thread that writes."""
        if self._write_fd >= 0:
            os.close(self._write_fd)
            self._write_fd = -1

    def close_reading(self) -> None:
        """Close the engine's end after the INSERT, so that further writes fail. Called once."""
        os.close(self._read_fd)
