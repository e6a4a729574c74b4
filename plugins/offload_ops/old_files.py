"""Deleting old files, such as logs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path


def delete_old_files(folders: Iterable[Path], before: datetime) -> int:
    """Delete the files below some folders that were last written before a moment, and the folders that this leaves empty.

    Links are neither followed nor deleted; what somebody else deletes meanwhile, or may not be deleted, is left alone.

    Args:
        folders: where to look; one that is missing holds nothing. They themselves stay.
        before: zone-aware.

    Returns:
        How many files were deleted.
    """
    deleted = 0
    for folder in folders:
        # Deleting what is in a folder makes it young: how old it was is looked up before.
        found = [(Path(path), files, _is_old(Path(path), before)) for path, _, files in os.walk(folder)]
        for path, files, was_old in reversed(found):
            for file in (path / name for name in files):
                if not file.is_symlink() and _is_old(file, before):
                    with suppress(OSError):
                        file.unlink()
                        deleted += 1
            # A young folder may just have been made for a file to come.
            if was_old and path != folder:
                with suppress(OSError):
                    path.rmdir()
    return deleted


def _is_old(path: Path, before: datetime) -> bool:
    try:
        return path.stat().st_mtime < before.timestamp()
    except OSError:
        return False
