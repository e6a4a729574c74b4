"""docs/faults.md names a test for every fault: each of them must exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.servers import CHECKOUT

DOCUMENT = (CHECKOUT / "docs" / "faults.md").read_text(encoding="utf-8")
# `file.py::test_name[parameters]`, `test_beginning_…` or `…_more_of_the_one_before`.
NAMED = sorted(set(re.findall(r"\btest_[a-z0-9_]+", DOCUMENT)))
FUNCTIONS = {
    node.name
    for path in (CHECKOUT / "tests").rglob("test_*.py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.FunctionDef)
}
FILES = {path.stem for path in (CHECKOUT / "tests").rglob("test_*.py")}


@pytest.mark.parametrize("name", NAMED)
def test_every_test_it_names_exists(name: str) -> None:
    assert name in FILES or any(function.startswith(name) for function in FUNCTIONS)


def test_every_row_names_a_test() -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| ") and line.count("|") == 5]
    cells = [row.rsplit("|", 2)[1] for row in rows if not row.startswith("| fault |")]

    assert len(cells) > 60
    assert [cell for cell in cells if "test_" not in cell and "the same" not in cell and "first row" not in cell] == []
