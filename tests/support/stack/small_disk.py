"""A disk of a few megabytes that a test can fill."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A separate file system, mounted on a folder."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / ".ballast"

    def fill(self, leaving: int = 0) -> None:
        """Fill it except for `leaving` bytes, rounded down to pages."""
        try:
            with self._ballast.open("ab", buffering=0) as file:
                while file.write(bytes(4096)) == 4096:
                    pass
        except OSError:
            pass
        size = self._ballast.stat().st_size
        with self._ballast.open("r+b") as file:
            file.truncate(max(0, size - leaving))

    def free(self) -> None:
        """Free the space."""
        self._ballast.unlink()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[SmallDisk]:
    """Create `folder` and mount a file system in memory on it; skip the test if mounting is not permitted.

    Args:
        folder: the mount point.
        size: the size, for example `4m`.
    """
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        # Lazily, because a process with an open file must not keep the mount forever.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
