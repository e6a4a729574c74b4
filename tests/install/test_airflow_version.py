"""Which Airflow version a command uses: the requested one, or the one of the state folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from install.errors import UnknownVersionError
from install.layout import Layout
from tests.support.checkout import CHECKOUT


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A state folder with an empty folder for Airflow."""
    (tmp_path / "airflow").mkdir()
    return tmp_path


def layout(home: Path, requested: str = "") -> Layout:
    return Layout.of_checkout({"OFFLOAD_HOME": str(home), "OFFLOAD_AIRFLOW": requested})


def test_without_a_request_and_a_state_folder_the_version_is_2_11(home):
    assert layout(home).version.label == "2.11"
    assert layout(home).airflow_python.parts[-3:] == ("airflow", "bin", "python")


def test_a_new_state_folder_gets_the_requested_version(home):
    assert layout(home, "3").state_version.number == "3"
    assert layout(home, "3").airflow_python.parts[-3:] == ("airflow3", "bin", "python")


def test_without_a_request_commands_use_the_version_of_the_state_folder(home):
    (home / "airflow" / "line").write_text("3\n")

    assert layout(home).version.number == "3"


def test_a_state_folder_keeps_its_version_whatever_is_requested(home):
    (home / "airflow" / "line").write_text("3\n")

    assert layout(home, "2").version.number == "2"
    assert layout(home, "2").state_version.number == "3"


def test_a_state_folder_with_an_airflow_but_no_recorded_version_is_of_2_11(home):
    (home / "airflow" / "airflow.cfg").touch()

    assert layout(home, "3").state_version.number == "2"


@pytest.mark.parametrize("requested", ["4", "2.11", "three"])
def test_an_unknown_version_is_refused_with_the_known_ones(home, requested):
    with pytest.raises(UnknownVersionError, match=r"Use AIRFLOW=2 .* or AIRFLOW=3"):
        layout(home, requested)
    result = subprocess.run(
        ["make", "setup", f"AIRFLOW={requested}"], cwd=CHECKOUT, check=False, capture_output=True, text=True
    )

    assert result.returncode != 0
    assert f"AIRFLOW={requested} is not supported" in result.stderr


@pytest.mark.parametrize(
    ("requested", "installed", "expected"),
    [("", "airflow airflow3", "airflow"), ("3", "airflow airflow3", "airflow3"), ("", "airflow3", "airflow3")],
)
def test_bin_offload_uses_the_python_of_that_version(tmp_path, requested, installed, expected):
    for name in installed.split():
        python = tmp_path / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text("#!/bin/sh\necho $0\n")
        python.chmod(0o755)
    environ = {**os.environ, "OFFLOAD_ENVS": str(tmp_path), "OFFLOAD_AIRFLOW": requested}

    result = subprocess.run([CHECKOUT / "bin" / "offload"], env=environ, check=True, capture_output=True, text=True)

    assert result.stdout == f"{tmp_path}/{expected}/bin/python\n"
