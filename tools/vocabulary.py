"""The words this project gave up, and what to say instead: `python -m tools.vocabulary`, run by `make lint`.

Checks the names that Python files define, and the prose of code and documents. Exit status 1 if it finds one.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]

NAMES = {
    "acting": "actions",
    "around": "context",
    "asked": "requested, or a noun",
    "away": "unavailable",
    "judge": "classify",
    "mend": "repair",
    "mended": "repaired, or resolved",
    "news": "changes",
    "rework": "reprocess",
    "said": "text, or message",
    "speaker": "console",
    "surroundings": "context",
    "tell": "notify",
    "told": "notified, text, or summary",
    "trouble": "issue",
    "upkeep": "maintenance",
}
"""Words that no name contains, each with better ones. Names of tests are sentences and may contain them."""

PHRASES = {
    r"\bit is none\b": "it is not a …",
    r"\bcan't be told\b": "is unknown",
    r"\bis told no more\b": "is no longer reported",
    r"\bby (?:\w+'s|an operator's|its) word\b": "according to …",
    r"\bfor ever\b": "forever",
    r'(?<!")\bupkeep\b(?!")': "maintenance",
    r"\bDo it all\b": "name what it does",
    r'"""The same[.,]': "say what it is; a docstring never depends on its neighbor",
    r'"""As `\w+` says': "say it, or refer to it as a reason",
    r"\bembedded stack\b": "development stack",
    r"\blines? of Airflow\b": "version of Airflow",
    r"\bAirflow's (?:two )?lines?\b": "versions of Airflow",
    r"\bis mended\b|\bwas mended\b|\bmend (?:what|that|it)\b": "fix, or repair",
}
"""Phrases that no text contains, as regular expressions, each with a better one. "upkeep" is also a JSON key."""

_TEXT = (".py", ".md", ".j2", ".html", ".yaml", ".yml", ".toml", ".sql", ".sh", ".in", "Makefile", "Dockerfile")
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


def names_in(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The names that a module defines, with their lines: classes, functions, parameters and variables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def findings(path: str, text: str) -> Iterator[str]:
    """One line for each word or phrase that a file should not contain.

    Args:
        path: the file's path below the checkout, for the message.
        text: its content.
    """
    if path.endswith(".py"):
        for line, name in names_in(ast.parse(text)):
            if name.startswith("test_"):
                continue
            for part in _PART.findall(name):
                if better := NAMES.get(part.lower()):
                    yield f"{path}:{line}: `{name}` contains '{part.lower()}'; use {better}."
    for phrase, better in PHRASES.items():
        for match in re.finditer(phrase, text):
            yield f"{path}:{text.count(chr(10), 0, match.start()) + 1}: '{match[0]}'; use: {better}."


def committed_files() -> list[str]:
    """The paths of the text files that git tracks, without lock files and the lists of these words."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, check=True, capture_output=True, text=True)
    return [path for path in listing.stdout.split("\0") if path.endswith(_TEXT) and not path.endswith("vocabulary.py")]


def main() -> int:
    """Print every finding and return the exit status."""
    found = [
        finding
        for path in committed_files()
        if (CHECKOUT / path).is_file()
        for finding in findings(path, (CHECKOUT / path).read_text(encoding="utf-8"))
    ]
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
