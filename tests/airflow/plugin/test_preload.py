"""What Airflow's forking processes import ahead for their children, and that no other process does."""

from __future__ import annotations

import importlib
import json
import logging
import subprocess
import sys

import pytest

from offload_airflow.compat.plugin import FORKING
from offload_airflow.plugin import preload
from tests.support.checkout import CHECKOUT
from tests.support.stack.airflow_home import HOME, process_environment
from tests.support.stack.airflow_version import LINE_PLUGIN

_START = """
import json, sys
sys.argv = ["airflow", *json.loads(sys.argv[1])]
from airflow.jobs.job import Job
Job()
print(json.dumps([name for name in sys.modules if name.startswith("offload_airflow.")]))
"""


def imported_by(*command: str) -> set[str]:
    """Our modules that one of Airflow's commands has once its job has begun."""
    result = subprocess.run(
        [sys.executable, "-c", _START, json.dumps(command)],
        env=process_environment(HOME),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.parametrize("command", FORKING)
def test_what_forks_tasks_or_parsers_imports_what_they_need(command: list[str]) -> None:
    wanted = {name for name in preload.MODULES if name.startswith("offload_airflow.")}

    assert wanted <= imported_by(*command)


@pytest.mark.parametrize("command", [("tasks", "run"), ("triggerer",), ("dags", "trigger")])
def test_no_other_command_takes_longer_for_it(command: tuple[str, ...]) -> None:
    small = {
        f"offload_airflow.{name}" for name in ("compat", "compat.plugin", "compat.version", "plugin", "plugin.preload")
    }
    assert imported_by(*command) == small | set(LINE_PLUGIN)


@pytest.mark.parametrize("name", preload.MODULES)
def test_each_module_exists(name: str) -> None:
    importlib.import_module(name)


def test_a_module_that_can_not_be_imported_is_told_and_the_others_come(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(preload, "MODULES", ("offload_airflow.nowhere", "offload_airflow.plugin.preload"))

    with caplog.at_level(logging.ERROR):
        preload.preload()

    assert [record.getMessage() for record in caplog.records] == [
        "offload_airflow.nowhere can't be imported ahead of time."
    ]
