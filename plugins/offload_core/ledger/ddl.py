"""Reads the project's `.sql` files: a statement ends with a semicolon at a line's end, a comment fills whole lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from offload_core.errors import FixConfiguration

_END = re.compile(r";[ \t]*$", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*--.*\n?", re.MULTILINE)


def sql_files(folder: Path) -> list[Path]:
    """A folder's `.sql` files, in name order.

    Raises:
        FixConfiguration: there are none; a deployment that lacks the folder must not look complete.
    """
    files = sorted(folder.glob("*.sql"))
    if not files:
        raise FixConfiguration(f"There are no .sql files in {folder}.", "Copy `include/` next to `plugins/`.")
    return files


def statements(folder: Path) -> Iterator[str]:
    """The statements of a folder's files, in name order and without comments.

    Raises FixConfiguration if there are no files.
    """
    for path in sql_files(folder):
        for statement in _END.split(_COMMENT.sub("", path.read_text(encoding="utf-8"))):
            if statement.strip():
                yield statement.strip()
