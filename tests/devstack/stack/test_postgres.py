"""PostgreSQL refuses to run as root: the user that it runs as when root starts it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from devstack.stack.postgres import unprivileged_prefix

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to drop")

QUESTION = """
echo "user $(id -u)"
[ -x "$1" ] && echo "may run"
"$1" && echo "ran"
grep CapEff /proc/self/status
"""


def _ask(program: Path) -> list[str]:
    command = [*unprivileged_prefix(program), "/bin/sh", "-c", QUESTION, "sh", str(program)]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout.splitlines()


@pytest.fixture
def program(tmp_path) -> Path:
    """A program below a folder that only root may enter."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    shutil.copy("/bin/true", closed / "program")
    return closed / "program"


def test_a_program_in_a_closed_folder_runs_as_another_user_with_only_the_right_to_read(program):
    answers = _ask(program)

    assert answers[:3] == ["user 65534", "may run", "ran"]
    assert int(answers[3].split()[1], 16) == 1 << 2, "more than CAP_DAC_READ_SEARCH is left"


def test_a_program_in_an_open_folder_runs_without_any_capability():
    answers = _ask(Path("/bin/true"))

    assert answers[:3] == ["user 65534", "may run", "ran"]
    assert int(answers[3].split()[1], 16) == 0


def test_the_permissions_of_the_folders_above_stay(program):
    before = [folder.stat().st_mode for folder in program.parents]

    _ask(program)

    assert [folder.stat().st_mode for folder in program.parents] == before
