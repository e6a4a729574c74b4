"""The runbooks as tests read them: their commands, headings, links and tables."""

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
    """A fenced block, or one command of it.

    Attributes:
        file, line: where it stands.
        language: what follows the fence.
        text: what is typed.
        needs: what has to be prepared, by name; empty for a healthy stack.
        exit: the exit status that the runbook promises.
        is_full: whether it takes too long for every run of the tests.
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
        """The same without comments and line breaks: commands that are equal in it do the same."""
        return re.sub(r"\s+", " ", _COMMENT.sub("", self.text).replace("\\\n", " ")).strip()

    @property
    def commands(self) -> list[Block]:
        """Its commands one by one, or the whole block where one builds on another."""
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
    """A document as CommonMark with tables."""
    return MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))


def blocks() -> list[Block]:
    """Every fenced block of every runbook, in order; drawings are not among them."""
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
                text = token.content if token.info == PRODUCTION else _on_this_line(token.content)
                found.append(_annotated(Block(path.name, line, token.info, text, section=section), annotation))
            before = token
    return found


def _on_this_line(text: str) -> str:
    """A command as the index has it typed on this line of Airflow; the compose file's containers are 2.11's."""
    for row in table_rows(FOLDER / "README.md") if AIRFLOW_3 else ():
        if all(cell.startswith("`") for cell in row):
            text = text.replace(*(cell.strip("`") for cell in row))
    return text


def _annotated(block: Block, comment: str) -> Block:
    """The block with what the comment above it says: `needs: …`, `exit: …`, `full`, parted by semicolons."""
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
            raise AssertionError(f"{block}: {comment} says what no test understands")
    return block


def headings(path: Path) -> list[str]:
    """A document's headings."""
    found = tokens(path)
    return [text.content for opening, text in pairwise(found) if opening.type == "heading_open"]


def anchors(path: Path) -> set[str]:
    """What links may name behind a document's #."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings(path)}


def links(path: Path) -> list[str]:
    """Where a document's links lead."""
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
