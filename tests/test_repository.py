"""Rules of the repository that no other tool checks."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


def _committed_text() -> list[tuple[Path, str]]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, check=True, capture_output=True, text=True)
    files = [CHECKOUT / name for name in listing.stdout.split("\0") if name]
    found = []
    for file in files:
        data = file.read_bytes() if file.is_file() else b""
        if data and b"\0" not in data:
            found.append((file, data.decode()))
    return found


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        (
            "the address of a package registry",
            r"https?://[\w.-]*(pypi|pythonhosted|maven\.org|maven\.apache\.org/maven2)",
        ),
        ("a path of somebody's machine", r"(?<![\w.])/(root|home/\w+|Users/\w+)/"),
        ("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    ],
)
def test_no_committed_file_holds(what, pattern):
    texts = _committed_text()
    assert len(texts) > 20

    found = [
        f"{file.relative_to(CHECKOUT)}: {match[0]}" for file, text in texts for match in re.finditer(pattern, text)
    ]

    assert found == [], f"{what} is in the repository"


LONGEST_LINE = 120
_GENERATED = re.compile(r"requirements/.*\.txt$|\.json$|\.svg$|^LICENSE$")
"""Files that nobody writes by hand."""
_FOR_TOOLS = re.compile(r"\s+# (?:noqa|type:).*$")


def _prose(file: Path, text: str) -> list[tuple[int, str]]:
    """The numbered lines of a file: of Markdown without code blocks, of Python without comments for tools."""
    found, is_code = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if file.suffix == ".md" and line.lstrip().startswith("```"):
            is_code = not is_code
        elif not is_code:
            found.append((number, _FOR_TOOLS.sub("", line) if file.suffix == ".py" else line))
    return found


def test_no_line_is_longer_than_120_characters():
    texts = [(file, text) for file, text in _committed_text() if not _GENERATED.search(str(file.relative_to(CHECKOUT)))]
    assert len(texts) > 400

    assert [
        f"{file.relative_to(CHECKOUT)}:{number}"
        for file, text in texts
        for number, line in _prose(file, text)
        if len(line) > LONGEST_LINE
    ] == []


def test_dags_import_airflow_the_airflow_side_and_nothing_else():
    dags = list((CHECKOUT / "dags").glob("*.py"))
    assert dags

    for dag in dags:
        for node in ast.walk(ast.parse(dag.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                top = module.partition(".")[0]
                assert top in {"airflow", "offload_airflow"} | sys.stdlib_module_names, f"{dag.name} imports {module}"


def _imports(file: Path) -> set[str]:
    """Modules that a file imports, and names that it imports from them, with dots."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_only_compat_knows_that_airflow_has_two_versions():
    package = CHECKOUT / "plugins" / "offload_airflow"
    compat = package / "compat"
    files = [*package.rglob("*.py"), *(CHECKOUT / "dags").glob("*.py"), *(CHECKOUT / "plugins").glob("*.py")]
    assert all(len(list((compat / version).glob("*.py"))) > 5 for version in ("v2", "v3"))

    for file in files:
        imported = _imports(file)
        if file != compat / "version.py":
            assert "airflow.__version__" not in imported, file
            assert "importlib.metadata" not in imported, file
        for version in ("v2", "v3"):
            theirs = [name for name in imported if f"{name}.".startswith(f"offload_airflow.compat.{version}.")]
            assert not theirs or file.parent in (compat, compat / version), f"{file} imports {theirs}"
        assert "offload_airflow.compat.version" not in imported or compat in file.parents, file


def _exported(file: Path) -> list[str] | None:
    """The names in a module's `__all__`; None if it has none."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "__all__" for to in node.targets):
            return sorted(ast.literal_eval(node.value))
    return None


def test_both_versions_of_airflow_export_the_same_names():
    compat = CHECKOUT / "plugins" / "offload_airflow" / "compat"
    two, three = (
        {file.name: exported for file in (compat / version).glob("*.py") if (exported := _exported(file)) is not None}
        for version in ("v2", "v3")
    )

    assert len(two) > 8
    assert two == three


def test_no_folder_of_the_product_has_more_than_20_files():
    product = ("bin", "dags", "devstack", "docker", "include", "install", "monitoring", "plugins", "tools")
    listing = subprocess.run(["git", "ls-files", *product], cwd=CHECKOUT, check=True, capture_output=True, text=True)
    folders = Counter(str(Path(name).parent) for name in listing.stdout.splitlines())

    assert len(folders) > 30
    assert {folder: count for folder, count in folders.items() if count > 20} == {}


def test_continuous_integration_runs_the_test_command_of_the_readme():
    commands = [line for line in (CHECKOUT / ".ci" / "run").read_text().splitlines() if not line.startswith("#")]

    assert commands[-2:] == ["make test", "exec make test-airflow AIRFLOW=3"]
    assert "make test" in (CHECKOUT / "README.md").read_text()


def test_make_alone_explains_every_target():
    makefile = (CHECKOUT / "Makefile").read_text()
    targets = set(re.findall(r"^\.PHONY: ([a-z-]+)$", makefile, flags=re.MULTILINE))

    shown = subprocess.run(["make"], cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout

    assert {"setup", "demo", "up", "status", "down", "test", "lint", "format", "bench", "clean"} <= targets
    assert targets == set(re.findall(r"^  make ([a-z-]+) ", shown, flags=re.MULTILINE))


def test_an_unsupported_python_is_refused_with_what_to_do(tmp_path):
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'Python 3.9.18' && exit 0\nexit 1\n")
    old.chmod(0o755)

    command = ["make", "setup", f"PYTHON={old}", f"OFFLOAD_ENVS={tmp_path / 'envs'}"]
    result = subprocess.run(command, cwd=CHECKOUT, check=False, capture_output=True, text=True)

    assert result.returncode != 0
    assert "Python 3.9.18" in result.stdout
    assert "make setup PYTHON=python3.12" in result.stdout
