"""Which line of Airflow is meant: the one that is asked for, or the one that the state folder was made by."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from install.errors import UnknownLineError
from install.layout import Layout
from tests.support.checkout import CHECKOUT


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A state folder with the place for an Airflow."""
    (tmp_path / "airflow").mkdir()
    return tmp_path


def layout(home: Path, asked: str = "") -> Layout:
    return Layout.of_checkout({"OFFLOAD_HOME": str(home), "OFFLOAD_AIRFLOW": asked})


def test_nobody_asks_and_nothing_is_there_it_is_two(home):
    assert layout(home).line.version == "2.11"
    assert layout(home).airflow_python.parts[-3:] == ("airflow", "bin", "python")


def test_a_new_state_folder_gets_the_line_that_is_asked_for(home):
    assert layout(home, "3").state_line.number == "3"
    assert layout(home, "3").airflow_python.parts[-3:] == ("airflow3", "bin", "python")


def test_commands_for_a_stack_take_its_line_where_none_is_named(home):
    (home / "airflow" / "line").write_text("3\n")

    assert layout(home).line.number == "3"


def test_a_state_folder_keeps_its_line_whatever_is_asked_for(home):
    (home / "airflow" / "line").write_text("3\n")

    assert layout(home, "2").line.number == "2"
    assert layout(home, "2").state_line.number == "3"


def test_a_state_folder_from_before_there_was_a_choice_is_of_two(home):
    (home / "airflow" / "airflow.cfg").touch()

    assert layout(home, "3").state_line.number == "2"


@pytest.mark.parametrize("asked", ["4", "2.11", "three"])
def test_a_line_that_does_not_exist_is_refused_with_what_to_say(home, asked):
    with pytest.raises(UnknownLineError, match=r"Say AIRFLOW=2 .* or AIRFLOW=3"):
        layout(home, asked)
    made = subprocess.run(
        ["make", "setup", f"AIRFLOW={asked}"], cwd=CHECKOUT, check=False, capture_output=True, text=True
    )

    assert made.returncode != 0
    assert f"AIRFLOW={asked} is no line" in made.stderr


@pytest.mark.parametrize(
    ("asked", "there", "taken"),
    [("", "airflow airflow3", "airflow"), ("3", "airflow airflow3", "airflow3"), ("", "airflow3", "airflow3")],
)
def test_the_operators_command_takes_that_lines_python(tmp_path, asked, there, taken):
    for name in there.split():
        python = tmp_path / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text("#!/bin/sh\necho $0\n")
        python.chmod(0o755)
    environ = {**os.environ, "OFFLOAD_ENVS": str(tmp_path), "OFFLOAD_AIRFLOW": asked}

    told = subprocess.run([CHECKOUT / "bin" / "offload"], env=environ, check=True, capture_output=True, text=True)

    assert told.stdout == f"{tmp_path}/{taken}/bin/python\n"
