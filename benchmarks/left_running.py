"""What jobs leave running for the next ones, such as a Spark application that tables share: it counts, and none must find it warm."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.measure import CommandFailed

_PATIENCE_SECONDS = 120.0


class LeftRunning:
    """The processes of a stack that are in none of its trees; the stack's folder is on their command lines.

    Args:
        home: that folder.
        roots: the roots of the trees.
    """

    def __init__(self, home: Path, roots: Sequence[psutil.Process]) -> None:
        self._home = str(home)
        self._roots = roots

    def __call__(self) -> list[psutil.Process]:
        """Those that run now."""
        trees = {member.pid for root in self._roots for member in [root, *root.children(recursive=True)]}
        found = {
            process.pid: process
            for process in psutil.process_iter(["ppid", "cmdline"])
            if process.pid not in trees and any(self._home in argument for argument in process.info["cmdline"] or ())
        }
        return [process for process in found.values() if process.info["ppid"] not in trees | found.keys()]

    def wait_for_end(self) -> None:
        """Wait until there are none any more, as it is a quarter of an hour later.

        Raises:
            CommandFailed: one stays.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while left := self():
            if time.monotonic() > deadline:
                raise CommandFailed(
                    f"{_PATIENCE_SECONDS:g} seconds later there still runs {' '.join(left[0].cmdline())}"
                )
            time.sleep(0.2)
