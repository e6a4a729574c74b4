"""Which versions of Airflow the package runs on, and what it says where it does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from offload_airflow.compat.version import is_airflow_3
from offload_core.errors import FixConfiguration
from tests.support.checkout import CHECKOUT

PLUGINS = CHECKOUT / "plugins"


@pytest.mark.parametrize(
    ("version", "is_3"), [("2.11.2", False), ("3.3.0", True), ("3.3.2rc1", True), ("3.10.0", True)]
)
def test_both_versions_are_distinguished(version: str, is_3: bool) -> None:
    assert is_airflow_3(version) is is_3


@pytest.mark.parametrize("version", ["2.10.5", "3.0.6", "3.2.2", "4.0.0"])
def test_a_version_that_it_was_not_built_for_is_refused_with_those_that_it_was(version: str) -> None:
    with pytest.raises(FixConfiguration, match=rf"Airflow {version}\..*2\.11.*3\.3"):
        is_airflow_3(version)


def test_the_operators_command_says_so_without_a_stack_trace() -> None:
    too_old = (
        "import airflow, runpy; airflow.__version__ = '3.2.2'; "
        "runpy.run_module('offload_airflow.cli', run_name='__main__')"
    )
    ended = subprocess.run([sys.executable, "-c", too_old], cwd=PLUGINS, capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert "offload: The Iceberg offload doesn't run on Airflow 3.2.2. Install 2.11" in ended.stderr
    assert "Traceback" not in ended.stderr
