"""The embedded stack with Airflow, as `make up` starts it, for tests of the whole."""

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

from devstack.stack.airflow_api import AirflowApi, DagRun
from install.layout import Layout
from offload_core.config.connections import Connections, load_connections
from tests.support.checkout import CHECKOUT
from tests.support.spark.world import wait_until

DAG_ID = "iceberg_offload"
_COMMAND_SECONDS = 300
_RUN_SECONDS = 600


@dataclass
class AirflowStack:
    """A running stack and what tests do with it."""

    layout: Layout
    environ: dict[str, str]
    connections: Connections
    api: AirflowApi
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
        """Run a line of shell in the checkout with nothing but what `make env` exports."""
        result = subprocess.run(
            ["bash", "-c", script], cwd=CHECKOUT, env=self.environ, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def run_dag(self, conf: dict[str, object] | None = None) -> tuple[DagRun, dict[str, str]]:
        """Trigger the DAG, wait for its end, and return the run and its tasks' states by id.

        Not around a quarter of an hour, when the scheduler's own run could take the rows first.
        """
        self.keep_from_the_quarter_hour()
        return self.finished(self.api.trigger(DAG_ID, conf))

    def keep_from_the_quarter_hour(self) -> None:
        """Wait while the scheduler's own run is due or at work."""
        wait_until(lambda: 45 < time.time() % 900 < 830, "the scheduler's own run to be over", seconds=180)

    def rerun(self, run_id: str, *task_ids: str) -> tuple[DagRun, dict[str, str]]:
        """Clear a run, or only these tasks of it, and wait for its end."""
        self.keep_from_the_quarter_hour()
        self.api.clear(DAG_ID, run_id, task_ids)
        return self.finished(run_id)

    def finished(self, run_id: str, dag_id: str = DAG_ID) -> tuple[DagRun, dict[str, str]]:
        """A run at its end, which is waited for, and its tasks' states by id."""
        *_, run = self.api.follow(dag_id, run_id, _RUN_SECONDS)
        return run, self.api.task_states(dag_id, run_id)

    def page(self, path: str) -> str:
        """A page of Airflow's web interface, as its administrator sees it."""
        return self.api.page(path)

    def task_log(self, run_id: str, task_id: str, dag_id: str = DAG_ID) -> str:
        """All that a task's attempts have logged."""
        folder = self.layout.logs / "airflow" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        return "\n".join(path.read_text() for path in sorted(folder.glob("*.log")))

    def verdicts(self) -> list[dict[str, Any]]:
        """What `offload verify` says; raises if a table differs."""
        found: list[dict[str, Any]] = json.loads(self.offload("verify", "--json"))
        return found


@contextmanager
def started_stack(home: Path, **settings: str) -> Iterator[AirflowStack]:
    """A stack on free ports with all its state in `home`, made ready by `offload init`, ended at the end.

    `settings` are further environment variables of the embedded stack.
    """
    base = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "OFFLOAD_HOME"))}
    environ = {**base, **settings, "OFFLOAD_HOME": str(home)}
    layout = Layout.of_checkout(environ)
    embedded = [str(layout.python("devstack")), "-m", "devstack"]
    try:
        _run([*embedded, "up", "--airflow"], environ)
        stack = _running(layout, environ)
        stack.offload("init", "--hot-tier")
        stack.api.wait_for_dag(DAG_ID, 120)
        yield stack
    finally:
        _run([*embedded, "down"], environ)


def upgraded(stack: AirflowStack) -> AirflowStack:
    """The same stack, moved from Airflow 2.11 to Airflow 3 as `make upgrade AIRFLOW=3` does it."""
    environ = {**stack.environ, "OFFLOAD_AIRFLOW": "3"}
    _run([str(stack.layout.python("devstack")), "-m", "devstack", "up", "--upgrade"], environ)
    found = _running(Layout.of_checkout(environ), environ)
    found.api.wait_for_dag(DAG_ID, 120)
    return found


def _running(layout: Layout, environ: dict[str, str]) -> AirflowStack:
    """What runs in a state folder."""
    embedded = [str(layout.python("devstack")), "-m", "devstack"]
    status = json.loads(_run([*embedded, "status", "--json"], environ))
    url = next(part["address"] for part in status if part["name"] in ("airflow-webserver", "airflow-api-server"))
    password = (layout.home / "airflow" / "admin-password").read_text().strip()
    connections = load_connections({"OFFLOAD_CONNECTIONS_FILE": str(layout.connections_file)})
    shell = _exports(_run([*embedded, "env"], environ))
    api = AirflowApi(url, "admin", password, layout.state_line)
    return AirflowStack(layout, {**environ, **shell}, connections, api, url, password)


def _exports(text: str) -> dict[str, str]:
    """The variables that `make env` prints as shell exports."""
    script = f"{text}\nenv -0"
    output = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    names = {line.removeprefix("export ").partition("=")[0] for line in text.splitlines()}
    pairs = (entry.partition("=") for entry in output.split("\0") if entry)
    return {name: value for name, _, value in pairs if name in names}


def _run(command: list[str], environ: dict[str, str], status: int | None = 0) -> str:
    """What a command prints; on stderr too where it is expected to fail. `status` None: whatever its exit status is."""
    env = {**environ, "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{CHECKOUT / 'plugins'}"}
    result = subprocess.run(
        command, cwd=CHECKOUT, env=env, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
    )
    told = f"{command[-3:]} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}"
    assert status in (result.returncode, None), told
    return result.stdout + result.stderr if status else result.stdout
