"""Processes that jobs leave running for later ones, such as a Spark application that tables share.

Their CPU time counts, and no measured job may find them already running.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.measure import CommandFailed

_PATIENCE_SECONDS = 120.0


class LeftRunning:
    """The processes of a stack outside of its process trees.

    Args:
        home: the stack's folder, which is on their command lines.
        roots: the roots of the process trees.
    """

    def __init__(self, home: Path, roots: Sequence[psutil.Process]) -> None:
        self._home = str(home)
        self._roots = roots

    def __call__(self) -> list[psutil.Process]:
        """Return the processes that run now."""
        trees = {member.pid for root in self._roots for member in [root, *root.children(recursive=True)]}
        found = {
            process.pid: process
            for process in psutil.process_iter(["ppid", "cmdline"])
            if process.pid not in trees and any(self._home in argument for argument in process.info["cmdline"] or ())
        }
        return [process for process in found.values() if process.info["ppid"] not in trees | found.keys()]

    def wait_for_end(self) -> None:
        """Wait until they have ended, as they have by the next scheduled run.

        Raises:
            CommandFailed: a process does not end in time.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while left := self():
            if time.monotonic() > deadline:
                raise CommandFailed(
                    f"This process is still running after {_PATIENCE_SECONDS:g} seconds: {' '.join(left[0].cmdline())}"
                )
            time.sleep(0.2)
