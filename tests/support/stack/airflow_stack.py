"""The development stack with Airflow, as `make up` starts it, for end-to-end tests."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devstack.stack.airflow_api import DagRun
from install.layout import Layout
from offload_core.config.connections import Connections, load_connections
from tests.support.checkout import CHECKOUT
from tests.support.stack.airflow_api import AirflowTestClient
from tests.support.waiting import wait_until

DAG_ID = "iceberg_offload"
_COMMAND_SECONDS = 300
_RUN_SECONDS = 600


@dataclass
class AirflowStack:
    """A running stack and what tests do with it."""

    layout: Layout
    environ: dict[str, str]
    connections: Connections
    api: AirflowTestClient
    url: str
    password: str

    def offload(self, *arguments: str, status: int | None = 0) -> str:
        """Run the operator's command; its exit status must be `status`, unless that is None."""
        return _run([str(CHECKOUT / "bin" / "offload"), *arguments], self.environ, status)

    def airflow(self, *arguments: str, status: int | None = 0) -> str:
        """Run Airflow's own command; its exit status must be `status`, unless that is None."""
        return _run(["airflow", *arguments], self.environ, status)

    def feed(self, *arguments: str) -> None:
        """Run the market feed."""
        _run([str(self.layout.python("devstack")), "-m", "devstack.market_feed", *arguments], self.environ)

    def shell(self, script: str) -> str:
        """Run a shell command in the checkout, with only the variables that `make env` exports."""
        result = subprocess.run(
            ["bash", "-c", script], cwd=CHECKOUT, env=self.environ, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def run_dag(self, conf: dict[str, object] | None = None) -> tuple[DagRun, dict[str, str]]:
        """Trigger the DAG, wait for its end, and return the run and its tasks' states by id.

        Waits at a quarter of an hour, when a scheduled run could take the rows first.
        """
        self.keep_from_the_quarter_hour()
        return self.finished(self.api.trigger(DAG_ID, conf))

    def keep_from_the_quarter_hour(self) -> None:
        """Wait while a scheduled run is due or running."""
        wait_until(lambda: 45 < time.time() % 900 < 830, "the scheduled run to end", seconds=180)

    def rerun(self, run_id: str, *task_ids: str) -> tuple[DagRun, dict[str, str]]:
        """Clear a run, or only some of its tasks, and wait for its end."""
        self.keep_from_the_quarter_hour()
        self.api.clear(DAG_ID, run_id, task_ids)
        return self.finished(run_id)

    def finished(self, run_id: str, dag_id: str = DAG_ID) -> tuple[DagRun, dict[str, str]]:
        """Wait for the end of a run. Returns the run and its tasks' states by id."""
        *_, run = self.api.follow(dag_id, run_id, _RUN_SECONDS)
        return run, self.api.task_states(dag_id, run_id)

    def page(self, path: str) -> str:
        """The content of a page of Airflow's web interface for its administrator."""
        return self.api.page(path)

    def task_log(self, run_id: str, task_id: str, dag_id: str = DAG_ID) -> str:
        """The logs of all attempts of a task."""
        folder = self.layout.logs / "airflow" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        return "\n".join(path.read_text() for path in sorted(folder.glob("*.log")))

    def verdicts(self) -> list[dict[str, Any]]:
        """The result of `offload verify`, for which all tables must be equal."""
        found: list[dict[str, Any]] = json.loads(self.offload("verify", "--json"))
        return found


@contextmanager
def started_stack(home: Path, **settings: str) -> Iterator[AirflowStack]:
    """A stack on free ports with all its state in `home`, prepared by `offload init`. It is stopped at the end.

    `settings` are further environment variables of the development stack.
    """
    base = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "OFFLOAD_HOME"))}
    environ = {**base, **settings, "OFFLOAD_HOME": str(home)}
    layout = Layout.of_checkout(environ)
    devstack = [str(layout.python("devstack")), "-m", "devstack"]
    try:
        _run([*devstack, "up", "--airflow"], environ)
        stack = _running(layout, environ)
        stack.offload("init", "--hot-tier")
        stack.api.wait_for_dag(DAG_ID, 120)
        yield stack
    finally:
        _run([*devstack, "down"], environ)


def upgraded(stack: AirflowStack) -> AirflowStack:
    """Move a stack from Airflow 2.11 to Airflow 3, as `make upgrade AIRFLOW=3` does. Returns the new stack."""
    environ = {**stack.environ, "OFFLOAD_AIRFLOW": "3"}
    _run([str(stack.layout.python("devstack")), "-m", "devstack", "up", "--upgrade"], environ)
    found = _running(Layout.of_checkout(environ), environ)
    found.api.wait_for_dag(DAG_ID, 120)
    return found


def _running(layout: Layout, environ: dict[str, str]) -> AirflowStack:
    """The running stack of a state folder."""
    devstack = [str(layout.python("devstack")), "-m", "devstack"]
    status = json.loads(_run([*devstack, "status", "--json"], environ))
    url = next(part["address"] for part in status if part["name"] in ("airflow-webserver", "airflow-api-server"))
    password = (layout.home / "airflow" / "admin-password").read_text().strip()
    connections = load_connections({"OFFLOAD_CONNECTIONS_FILE": str(layout.connections_file)})
    shell = _exports(_run([*devstack, "env"], environ))
    api = AirflowTestClient(url, "admin", password, layout.state_version)
    return AirflowStack(layout, {**environ, **shell}, connections, api, url, password)


def _exports(text: str) -> dict[str, str]:
    """The variables that `make env` prints as shell exports."""
    script = f"{text}\nenv -0"
    output = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    names = {line.removeprefix("export ").partition("=")[0] for line in text.splitlines()}
    pairs = (entry.partition("=") for entry in output.split("\0") if entry)
    return {name: value for name, _, value in pairs if name in names}


def _run(command: list[str], environ: dict[str, str], status: int | None = 0) -> str:
    """The output of a command, with stderr if it is expected to fail. With `status` None, every exit status is fine."""
    env = {**environ, "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{CHECKOUT / 'plugins'}"}
    result = subprocess.run(
        command, cwd=CHECKOUT, env=env, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
    )
    message = f"{command[-3:]} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}"
    assert status in (result.returncode, None), message
    return result.stdout + result.stderr if status else result.stdout
