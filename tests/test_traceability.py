"""docs/traceability.md claims nothing that is not there: every file and test that it names exists, and no requirement lacks a row."""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
DOCUMENT = (CHECKOUT / "docs" / "traceability.md").read_text(encoding="utf-8")
REQUIREMENTS = CHECKOUT.parent / "shared" / "requirements.md"
_HEADS = ("| no. |", "|---|")
_ROW = re.compile(r"\| (?P<kind>[A-Z])(?P<number>\d+) \| (?P<asked>[^|]+) \| (?P<where>[^|]+) \| (?P<proof>[^|]+) \|")
_PATH = re.compile(r"[\w.-]+/[\w./-]*|[\w.-]+\.(?:md|txt|toml|yaml|py|example)")
_TEST = re.compile(r"(?P<path>[\w./-]+\.py)::(?P<name>\w+)")
_REQUIRED = re.compile(r"^(?:- \*\*([BRXG]\d+)\*\*|\| ([BRXG]\d+) \|)", re.MULTILINE)
"""Where the list defines a number: at the beginning of an item or of a table's row; everywhere else it refers to one."""


class Row(NamedTuple):
    """One requirement: its section, its number as a pair that can be sorted, and the text of its cells."""

    section: str
    number: tuple[str, int]
    cells: str
    proof: str

    @property
    def name(self) -> str:
        """The number as it is written."""
        return f"{self.number[0]}{self.number[1]}"


def _lines() -> list[tuple[str, str]]:
    """The lines of the tables, each with its section."""
    section, found = "", []
    for line in DOCUMENT.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("|") and not line.startswith(_HEADS):
            found.append((section, line))
    return found


def _rows() -> list[Row]:
    matches = [(section, _ROW.fullmatch(line)) for section, line in _lines()]
    return [
        Row(section, (found["kind"], int(found["number"])), found[0], found["proof"])
        for section, found in matches
        if found is not None
    ]


ROWS = _rows()
# What stands in backticks, and where links lead, from the checkout.
WORDS = re.findall(r"`([^`]+)`", DOCUMENT)
LINKS = [f"docs/{target}" for target in re.findall(r"\]\(([^)#]+)", DOCUMENT)]
TESTS = [found for found in map(_TEST.fullmatch, WORDS) if found]


@cache
def _functions(path: Path) -> frozenset[str]:
    """The names of a file's functions and methods."""
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_each_line_of_its_tables_is_a_row_with_four_cells() -> None:
    assert len(ROWS) > 200
    assert [line for _, line in _lines() if not _ROW.fullmatch(line)] == []


def test_every_path_it_names_exists() -> None:
    named = sorted({word.partition("::")[0] for word in WORDS if _PATH.fullmatch(word.partition("::")[0])} | set(LINKS))

    assert len(named) > 100
    assert [path for path in named if not (CHECKOUT / path).exists()] == []


def test_every_test_it_names_exists() -> None:
    assert len(TESTS) > 200
    assert [found[0] for found in TESTS if found["name"] not in _functions(CHECKOUT / found["path"])] == []
    assert [word for word in WORDS if "::" in word and not _TEST.fullmatch(word)] == []


def test_every_row_names_a_test_or_says_what_is_open() -> None:
    assert [row.name for row in ROWS if "::" not in row.proof and "open:" not in row.proof] == []


def test_numbers_are_unique_and_rise_within_a_section() -> None:
    assert sorted({row.name for row in ROWS}) == sorted(row.name for row in ROWS)
    assert [
        f"{after.name} comes after {before.name}"
        for before, after in pairwise(ROWS)
        if before.section == after.section and before.number >= after.number
    ] == []


@pytest.mark.skipif(not REQUIREMENTS.is_file(), reason="the requirement list, ../shared/requirements.md, is not here")
def test_every_requirement_has_a_row() -> None:
    required = {item or cell for item, cell in _REQUIRED.findall(REQUIREMENTS.read_text(encoding="utf-8"))}
    told = {row.name for row in ROWS if row.number[0] != "W"}

    assert len(required) > 200
    assert sorted(required - told) == []
    assert sorted(told - required) == []
