"""docs/faults.md names a test for every fault: each of them must exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.checkout import CHECKOUT

DOCUMENT = (CHECKOUT / "docs" / "faults.md").read_text(encoding="utf-8")
# `file.py::test_name[parameters]` or `test_beginning_…`.
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


def test_every_fault_names_a_test() -> None:
    # A fault is a bold line with a list below it.
    faults = re.findall(r"^\*\*.+?(?=\n\n|\Z)", DOCUMENT, flags=re.MULTILINE | re.DOTALL)

    assert len(faults) > 60
    assert [fault for fault in faults if "test_" not in fault] == []
