"""The stack's Airflow over its REST API, with the calls that only tests make."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

from devstack.stack.airflow_api import AirflowApi, run_path
from devstack.stack.errors import AirflowRefusedError


class AirflowTestClient(AirflowApi):
    """The REST API of one Airflow, with what tests change and wait for."""

    def mark_run(self, dag_id: str, run_id: str, state: str) -> None:
        """Set the state of a run and of all its tasks."""
        self.call("PATCH", run_path(dag_id, run_id), {"state": state})

    def mark_task(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Set the state of a task."""
        body: dict[str, object] = {"new_state": state}
        if self.is_airflow_2:
            body["dry_run"] = False
        self.call("PATCH", f"{run_path(dag_id, run_id)}/taskInstances/{task_id}", body)

    def delete_run(self, dag_id: str, run_id: str) -> None:
        """Delete a run with everything that Airflow has recorded about it."""
        self.call("DELETE", run_path(dag_id, run_id))

    def wait_for_tasks(self, dag_id: str, count: int, seconds: float) -> None:
        """Wait until the DAG, as Airflow has parsed it, has that many tasks.

        Raises:
            AirflowRefusedError: the DAG does not have them in time.
        """
        deadline = time.monotonic() + seconds
        while len(self.call("GET", f"/dags/{quote(dag_id)}/tasks")["tasks"]) != count:
            if time.monotonic() > deadline:
                raise AirflowRefusedError(f"Airflow's DAG {dag_id} does not have {count} tasks. See make logs.")
            time.sleep(0.5)

    def delete_variable(self, name: str) -> None:
        """Delete an Airflow Variable."""
        self.call("DELETE", f"/variables/{name}")

    def wait_for_newer_run(self, dag_id: str, than: str, seconds: float) -> str:
        """Wait until a newer run than `than` has started, and return its id.

        Raises:
            AirflowRefusedError: no run starts in time.
        """
        deadline = time.monotonic() + seconds
        while (run_id := self.newest_run(dag_id)) in (None, than):
            if time.monotonic() > deadline:
                raise AirflowRefusedError(f"Airflow's scheduler starts no run of {dag_id}. See make logs.")
            time.sleep(0.5)
        return str(run_id)

    def has_backfills(self, dag_id: str) -> bool:
        """Whether a backfill of the DAG, which Airflow 3's scheduler runs, has not ended."""
        found = self.call("GET", f"/backfills?dag_id={quote(dag_id)}")["backfills"]
        return any(backfill["completed_at"] is None for backfill in found)

    def events(self, dag_id: str, event: str) -> list[dict[str, Any]]:
        """Entries of the audit log, the newest first."""
        path = f"/eventLogs?dag_id={quote(dag_id)}&event={quote(event)}&order_by=-when"
        found: list[dict[str, Any]] = self.call("GET", path)["event_logs"]
        return found

    def is_scheduler_healthy(self) -> bool:
        """Whether Airflow has recorded a scheduler's heartbeat in the last half minute."""
        return bool(json.loads(self.page(self.version.health_page))["scheduler"]["status"] == "healthy")
