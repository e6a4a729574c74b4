"""docs/traceability.md names only files and tests that exist, and every code leads to docs/requirements.md."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
TRACEABILITY = (CHECKOUT / "docs" / "traceability.md").read_text(encoding="utf-8")
REQUIREMENTS = (CHECKOUT / "docs" / "requirements.md").read_text(encoding="utf-8")
_SECTION = re.compile(r"## (?P<name>[A-Z]\. .+)")
"""The heading of a section of requirements; sections without a letter hold none."""
_ITEM = re.compile(r"- \*\*(?P<kind>[BRXGW])(?P<number>\d+)\*\* \S.*")
"""The first line of a row, and of a requirement."""
_FIELD = re.compile(r"  - (?P<name>where|proof|open): \S.*")
_PATH = re.compile(r"[\w.-]+/[\w./-]*|[\w.-]+\.(?:md|txt|in|toml|yaml|py|example)")
_TEST = re.compile(r"[Tt]est_?\w+")
_CODE = re.compile(r"\b[BRXG][1-9]\d{0,2}\b")
_CODE_OR_FACT = re.compile(r"\b[BRXGW][1-9]\d{0,2}\b")
"""W codes are only looked for in the two documents: elsewhere, `W47` is a week."""


class Item(NamedTuple):
    """A row, or a requirement: its section, its code as a pair that can be sorted, and its further lines."""

    section: str
    code: tuple[str, int]
    lines: list[str]

    @property
    def name(self) -> str:
        """The code as it is written."""
        return f"{self.code[0]}{self.code[1]}"

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The name and the text of each field of a row; continued lines are joined."""
        found: list[tuple[str, str]] = []
        for line in self.lines:
            if match := _FIELD.fullmatch(line):
                found.append((match["name"], line))
            elif found:
                found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
        return found

    @property
    def tests(self) -> list[tuple[str, str]]:
        """Path and name of each test among the proofs; a name belongs to the path before it, "" if there is none."""
        found = []
        for _, text in (field for field in self.fields if field[0] == "proof"):
            path = ""
            for word in _words(text):
                if _PATH.fullmatch(word):
                    path = word
                elif _TEST.fullmatch(word):
                    found.append((path, word))
        return found


def _words(text: str) -> list[str]:
    """What is in backticks."""
    return re.findall(r"`([^`]+)`", text)


def _items(document: str) -> tuple[list[Item], list[str]]:
    """The items of a document's sections, and the lines there that belong to none."""
    section, items, strays = "", [], []
    for line in document.splitlines():
        if line.startswith("#"):
            heading = _SECTION.fullmatch(line)
            section = heading["name"] if heading else ""
        elif section and (match := _ITEM.fullmatch(line)):
            items.append(Item(section, (match["kind"], int(match["number"])), []))
        elif section and line.startswith("  ") and items and items[-1].section == section:
            items[-1].lines.append(line)
        elif section and line:
            strays.append(line)
    return items, strays


ROWS, STRAY_ROWS = _items(TRACEABILITY)
DEFINITIONS, STRAY_DEFINITIONS = _items(REQUIREMENTS)
WORDS = _words(TRACEABILITY)
LINKS = [f"docs/{target}" for target in re.findall(r"\]\(([^)#]+)", TRACEABILITY)]
"""Where links lead, from the checkout."""


@cache
def _functions(path: Path) -> frozenset[str]:
    """The names of a file's functions and methods."""
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _mentions() -> set[tuple[str, str]]:
    """Each mention of a code in the committed Markdown and Python files, with its file; linters' codes are none."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "*.md", "*.py"], cwd=CHECKOUT, check=True, capture_output=True, text=True
    )
    found = set()
    for name in filter(None, listing.stdout.split("\0")):
        file = CHECKOUT / name
        text = re.sub(r"# noqa.*", "", file.read_text(encoding="utf-8")) if file.is_file() else ""
        found |= {(name, code) for code in _CODE.findall(text)}
    return found


def test_every_line_of_its_sections_belongs_to_a_row_with_its_fields() -> None:
    assert len(ROWS) > 200
    assert STRAY_ROWS == []
    assert [row.name for row in ROWS if [name for name, _ in row.fields].count("where") != 1] == []
    assert [line for row in ROWS for line in row.lines if line.startswith("  - ") and not _FIELD.fullmatch(line)] == []


def test_every_path_it_names_exists() -> None:
    named = sorted({word for word in WORDS if _PATH.fullmatch(word)} | set(LINKS))

    assert len(named) > 100
    assert [path for path in named if not (CHECKOUT / path).exists()] == []


def test_every_test_it_names_exists() -> None:
    tests = [test for row in ROWS for test in row.tests]

    assert len(tests) > 200
    assert [f"{path}: {name}" for path, name in tests if name not in _functions(CHECKOUT / path)] == []
    assert [word for word in WORDS if "::" in word] == []


def test_every_file_of_a_proof_is_followed_by_its_tests() -> None:
    assert [
        f"{row.name}: {word}"
        for row in ROWS
        for kind, text in row.fields
        if kind == "proof"
        for word in _words(text)
        if _PATH.fullmatch(word) and word not in {path for path, _ in row.tests}
    ] == []


def test_every_row_names_a_test_or_says_what_is_open() -> None:
    assert [row.name for row in ROWS if not row.tests and "open" not in dict(row.fields)] == []


def test_numbers_are_unique_and_rise_within_a_section() -> None:
    for items in (ROWS, DEFINITIONS):
        assert sorted({item.name for item in items}) == sorted(item.name for item in items)
        assert [
            f"{after.name} comes after {before.name}"
            for before, after in pairwise(items)
            if before.section == after.section and before.code >= after.code
        ] == []


def test_every_requirement_has_a_row_in_the_section_of_the_same_name() -> None:
    required = [(item.section, item.name) for item in DEFINITIONS]

    assert len(required) > 200
    assert STRAY_DEFINITIONS == []
    assert sorted(set(required) ^ {(row.section, row.name) for row in ROWS}) == []


def test_every_code_in_the_repository_is_a_requirement() -> None:
    defined = {item.name for item in DEFINITIONS}
    documents = {"docs/requirements.md": REQUIREMENTS, "docs/traceability.md": TRACEABILITY}
    mentioned = _mentions() | {(name, code) for name, text in documents.items() for code in _CODE_OR_FACT.findall(text)}

    assert sorted(f"{name}: {code}" for name, code in mentioned if code not in defined) == []
