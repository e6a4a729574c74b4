"""The pages for contributors name only what exists, and stay as short as they promise to be."""

from __future__ import annotations

import importlib
import re
import subprocess
from pathlib import Path

import pytest

from offload_core import __version__
from tests.support.checkout import CHECKOUT

PAGES = {name: (CHECKOUT / name).read_text(encoding="utf-8") for name in ("CONTRIBUTING.md", "docs/developing.md")}
_PATH = re.compile(r"`((?:[\w.-]+/)[\w./-]*)`")
_DOTTED = re.compile(r"`((?:offload_core|offload_ops|offload_airflow|offload_spark|install|devstack)(?:\.\w+)+)`")


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_the_pages_name_exists(page):
    named = _PATH.findall(PAGES[page])

    assert len(named) > 15
    assert [path for path in named if not (CHECKOUT / path).exists() and path not in ("v2/", "v3/")] == []


def test_every_target_that_the_pages_name_is_in_the_makefile():
    targets = set(re.findall(r"^\.PHONY: ([a-z-]+)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    named = {target for page in PAGES.values() for target in re.findall(r"`make ([a-z-]+)", page)}

    assert len(named) > 6
    assert named - targets == set()


def test_no_recipe_is_longer_than_twelve_lines():
    recipes = re.split(r"^## ", PAGES["docs/developing.md"], flags=re.MULTILINE)[1:]

    assert len(recipes) > 7
    assert [recipe.splitlines()[0] for recipe in recipes if len(recipe.strip().splitlines()) - 2 > 12] == []


def test_contributing_is_one_page():
    assert len(PAGES["CONTRIBUTING.md"].splitlines()) <= 80


def test_the_version_is_the_newest_release_of_the_changelog():
    changelog = (CHECKOUT / "CHANGELOG.md").read_text()
    releases = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", changelog, re.MULTILINE)

    assert releases[0] == __version__
    assert f"image: iceberg-offload:{__version__}\n" in (CHECKOUT / "docker-compose.yaml").read_text()


def _dotted_names() -> set[tuple[str, str]]:
    """The dotted names of ours that stand in backticks anywhere in Python files, each with its file."""
    command = ["git", "ls-files", "-z", "*.py"]
    listing = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True)
    files = [CHECKOUT / name for name in listing.stdout.split("\0") if name]
    return {(file.name, name) for file in files if file.is_file() for name in _DOTTED.findall(file.read_text())}


def test_every_dotted_name_in_backticks_leads_somewhere():
    found = _dotted_names()

    assert len(found) > 10
    assert [name for name in sorted(found) if not _exists(name[1])] == []


def _exists(dotted: str) -> bool:
    """Whether it is a module, or a name in one. Of a module that can't be imported here, the text counts."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        source = _source(parts[:length])
        if source is not None:
            return _has(source, ".".join(parts[:length]), parts[length:])
    return False


def _source(parts: list[str]) -> Path | None:
    for root in ("plugins", "include/spark", "."):
        module = CHECKOUT.joinpath(root, *parts)
        for source in (module.with_suffix(".py"), module / "__init__.py"):
            if source.is_file():
                return source
    return None


def _has(source: Path, module: str, names: list[str]) -> bool:
    if not names:
        return True
    try:
        found: object = importlib.import_module(module)
    except ImportError:
        return re.search(rf"\b{names[0]}\b", source.read_text()) is not None
    for name in names:
        if not hasattr(found, name):
            return False
        found = getattr(found, name)
    return True
