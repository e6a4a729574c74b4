"""Deleting old files, such as logs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path


def delete_old_files(folders: Iterable[Path], before: datetime) -> int:
    """Delete the files below some folders that were last written before a moment, and the folders that become empty.

    Links are neither followed nor deleted. A file that cannot be deleted, or is deleted by another process, is skipped.

    Args:
        folders: the folders, which themselves stay; a missing one is skipped.
        before: zone-aware.

    Returns:
        How many files were deleted.
    """
    deleted = 0
    for folder in folders:
        # Deleting a file updates the time of its folder, so the ages are read first.
        contents = [(Path(path), files, _is_old(Path(path), before)) for path, _, files in os.walk(folder)]
        for path, files, was_old in reversed(contents):
            for file in (path / name for name in files):
                if not file.is_symlink() and _is_old(file, before):
                    with suppress(OSError):
                        file.unlink()
                        deleted += 1
            # A recent folder may just have been created for a file that is still to come.
            if was_old and path != folder:
                with suppress(OSError):
                    path.rmdir()
    return deleted


def _is_old(path: Path, before: datetime) -> bool:
    try:
        return path.stat().st_mtime < before.timestamp()
    except OSError:
        return False
