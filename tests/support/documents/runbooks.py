"""The commands, headings, links and tables of the runbooks."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.support.checkout import CHECKOUT
from tests.support.stack.airflow_version import AIRFLOW_3

FOLDER = CHECKOUT / "docs" / "runbooks"
FILES = sorted(FOLDER.glob("*.md"))
SHELL, PRODUCTION, LEDGER_SQL, CLICKHOUSE_SQL = "sh", "sh production", "sql", "sql clickhouse"
_CHANGES_THE_SHELL = re.compile(r"^(export |eval |\w+=|\w+\(\))", re.MULTILINE)
_COMMENT = re.compile(r"\s#\s.*")
_ANNOTATION = re.compile(r"<!-- (.*) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block, or one of its commands.

    Attributes:
        file, line: its place.
        language: the language that the fence names.
        text: what an operator types.
        needs: the name of the situation that it is for; empty for a healthy stack.
        exit: the exit status that the runbook promises.
        is_full: whether it is too slow for every run of the tests.
        section: the heading above it.
    """

    file: str
    line: int
    language: str
    text: str
    needs: str = ""
    exit: int = 0
    is_full: bool = False
    section: str = ""

    def __str__(self) -> str:
        first = re.sub(r"\s+", " ", self.text).strip()
        return f"{self.file}:{self.line} {first[:60]}"

    @property
    def typed(self) -> str:
        """The text without comments and line breaks. Equal texts are the same command."""
        return re.sub(r"\s+", " ", _COMMENT.sub("", self.text).replace("\\\n", " ")).strip()

    @property
    def commands(self) -> list[Block]:
        """Its commands one by one, or the whole block if they depend on each other."""
        if self.language not in (SHELL, PRODUCTION):
            return [self]
        lines = [line for line in re.split(r"(?<!\\)\n", self.text) if line.strip()]
        if self.language == SHELL and (_CHANGES_THE_SHELL.search(self.text) or not all(map(_is_complete, lines))):
            return [self]
        return [replace(self, text=line) for line in lines]


@cache
def _is_complete(line: str) -> bool:
    return subprocess.run(["bash", "-n", "-c", line], capture_output=True, check=False).returncode == 0


@cache
def tokens(path: Path) -> list[Token]:
    """Parse a document as CommonMark with tables."""
    return MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))


def blocks() -> list[Block]:
    """Every fenced block of every runbook in order, without the drawings."""
    found = []
    for path in FILES:
        before: Token | None = None
        section = ""
        for token in tokens(path):
            if before is not None and before.type == "heading_open":
                section = token.content
            if token.type == "fence" and token.info in (SHELL, PRODUCTION, LEDGER_SQL, CLICKHOUSE_SQL):
                annotation = before.content if before is not None and before.type == "html_block" else ""
                line = (token.map or [0])[0] + 1
                text = token.content if token.info == PRODUCTION else _for_this_version(token.content)
                found.append(_annotated(Block(path.name, line, token.info, text, section=section), annotation))
            before = token
    return found


def _for_this_version(text: str) -> str:
    """A command for this version of Airflow, by the table in the index. The compose file's containers are 2.11's."""
    for row in table_rows(FOLDER / "README.md") if AIRFLOW_3 else ():
        if all(cell.startswith("`") for cell in row):
            text = text.replace(*(cell.strip("`") for cell in row))
    return text


def _annotated(block: Block, comment: str) -> Block:
    """Apply the comment above a block: `needs: …`, `exit: …` and `full`, separated by semicolons."""
    match = _ANNOTATION.fullmatch(comment.strip())
    for part in match[1].split(";") if match else ():
        name, _, value = part.strip().partition(": ")
        if name == "needs":
            block = replace(block, needs=value)
        elif name == "exit":
            block = replace(block, exit=int(value))
        elif name == "full":
            block = replace(block, is_full=True)
        else:
            raise AssertionError(f"{block}: {comment} has a part that no test understands")
    return block


def headings(path: Path) -> list[str]:
    """The headings of a document."""
    found = tokens(path)
    return [text.content for opening, text in pairwise(found) if opening.type == "heading_open"]


def anchors(path: Path) -> set[str]:
    """The anchors that links to a document may name."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings(path)}


def links(path: Path) -> list[str]:
    """The targets of a document's links."""
    return [
        str(child.attrs["href"])
        for token in tokens(path)
        for child in token.children or ()
        if child.type == "link_open"
    ]


def table_rows(path: Path) -> list[list[str]]:
    """The rows of all tables of a document, as lists of cells."""
    rows: list[list[str]] = []
    in_cell = False
    for token in tokens(path):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("td_open", "th_open"):
            in_cell = True
        elif token.type == "inline" and in_cell:
            rows[-1].append(token.content)
            in_cell = False
    return rows
