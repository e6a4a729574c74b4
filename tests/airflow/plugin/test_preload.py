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
from tests.support.stack.airflow_version import VERSION_MODULES

OTHERS = (["tasks", "run"], ["triggerer"], ["dags", "trigger"])
_START = """
import json, os, sys
from airflow.jobs.job import Job
for command in json.loads(sys.argv[1]):
    if os.fork():
        os.wait()
    else:
        sys.argv = ["airflow", *command]
        Job()
        print(json.dumps([name for name in sys.modules if name.startswith("offload_airflow.")]), flush=True)
        os._exit(0)
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, set[str]]:
    """Our modules that each of Airflow's commands has imported when its job has begun.

    The commands are forks of one process, because importing Airflow takes most of the time.
    """
    commands = [*FORKING, *OTHERS]
    result = subprocess.run(
        [sys.executable, "-c", _START, json.dumps(commands)],
        env=process_environment(HOME),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    modules = [set(json.loads(line)) for line in result.stdout.splitlines() if line.startswith("[")]
    return dict(zip(map(" ".join, commands), modules, strict=True))


@pytest.mark.parametrize("command", [*map(" ".join, FORKING)])
def test_what_forks_tasks_or_parsers_imports_what_they_need(command: str, imported: dict[str, set[str]]) -> None:
    wanted = {name for name in preload.MODULES if name.startswith("offload_airflow.")}

    assert wanted <= imported[command]


@pytest.mark.parametrize("command", [*map(" ".join, OTHERS)])
def test_no_other_command_takes_longer_for_it(command: str, imported: dict[str, set[str]]) -> None:
    small = {
        f"offload_airflow.{name}" for name in ("compat", "compat.plugin", "compat.version", "plugin", "plugin.preload")
    }
    assert imported[command] == small | set(VERSION_MODULES)


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
