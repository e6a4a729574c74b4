"""Reading the `.sql` files of the project: statements end with a semicolon at the end of a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_END = re.compile(r";[ \t]*$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)


def statements(folder: Path) -> Iterator[str]:
    """The statements of a folder's files, in name order."""
    for path in sorted(folder.glob("*.sql")):
        for statement in _END.split(path.read_text(encoding="utf-8")):
            if _COMMENT.sub("", statement).strip():
                yield statement.strip()
