"""A client of the stack's Airflow: the REST calls that a user's own scripts would make."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from devstack.stack.airflow_session import FormSession, Session, TokenSession
from devstack.stack.errors import AirflowRefusedError
from install.airflow_version import AIRFLOW_2, AirflowVersion
from offload_core.protocol.window import from_iso

_FINISHED = {"success", "failed"}
_LOGGED_OUT = {401, 403}
_EXISTS = 409


@dataclass(frozen=True)
class DagRun:
    """A run of a DAG and its progress.

    Attributes:
        run_id: Airflow's id of the run.
        state: queued, running, success or failed.
        done, tasks: the numbers of finished tasks and of all tasks.
    """

    run_id: str
    state: str
    done: int
    tasks: int

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended, successfully or not."""
        return self.state in _FINISHED


class AirflowApi:
    """A client of Airflow's stable REST API.

    Args:
        url: the web address of Airflow.
        user, password: an Airflow login that may trigger runs.
        version: the Airflow version; Airflow 2 has version 1 of the API, Airflow 3 has version 2.
    """

    def __init__(self, url: str, user: str, password: str, version: AirflowVersion = AIRFLOW_2) -> None:
        self._url = url
        self._login = {"username": user, "password": password}
        self.version = version
        self._session_type = FormSession if self.is_airflow_2 else TokenSession
        self._session: Session | None = None

    @property
    def is_airflow_2(self) -> bool:
        """Whether this is Airflow 2.11."""
        return self.version is AIRFLOW_2

    def wait_for_dag(self, dag_id: str, seconds: float) -> None:
        """Wait until the DAG processor has stored the DAG.

        Raises:
            AirflowRefusedError: the DAG is not stored in time; the message has the import errors, if any.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                self.summary(dag_id)
            except AirflowRefusedError:
                time.sleep(0.5)
            else:
                return
        broken = [error["stack_trace"] for error in self.call("GET", "/importErrors")["import_errors"]]
        raise AirflowRefusedError(f"Airflow has no DAG {dag_id}. See make logs.\n" + "\n".join(broken))

    def unpause(self, dag_id: str) -> bool:
        """Unpause the DAG; return False if it was not paused."""
        if not self.is_paused(dag_id):
            return False
        self.call("PATCH", f"/dags/{dag_id}", {"is_paused": False})
        return True

    def pause(self, dag_id: str) -> None:
        """Pause the DAG."""
        self.call("PATCH", f"/dags/{dag_id}", {"is_paused": True})

    def is_paused(self, dag_id: str) -> bool:
        """Whether the DAG is paused."""
        return bool(self.summary(dag_id)["is_paused"])

    def summary(self, dag_id: str) -> dict[str, Any]:
        """Return Airflow's description of a DAG."""
        return self.call("GET", f"/dags/{dag_id}")

    def next_due(self, dag_id: str) -> datetime | None:
        """Return when the scheduler creates the DAG's next run (UTC); None if Airflow names no time (during a run)."""
        dag = self.summary(dag_id)
        due = dag["next_dagrun_create_after" if self.is_airflow_2 else "next_dagrun_run_after"]
        return from_iso(due) if due else None

    def clear(self, dag_id: str, run_id: str, task_ids: Sequence[str] = ()) -> None:
        """Clear a run, or only these tasks of it, so that it runs again."""
        body: dict[str, object] = {"dry_run": False, "only_failed": False, "reset_dag_runs": True, "dag_run_id": run_id}
        if task_ids:
            body["task_ids"] = list(task_ids)
        self.call("POST", f"/dags/{dag_id}/clearTaskInstances", body)

    def run_ids(self, dag_id: str) -> dict[datetime, str]:
        """Return the ids of the newest hundred runs by logical date (UTC)."""
        # In Airflow 3, a manual run has no logical date.
        dated = [run for run in self.runs(dag_id) if run["logical_date"]]
        return {from_iso(run["logical_date"]): str(run["dag_run_id"]) for run in dated}

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return Airflow's descriptions of the newest hundred runs, newest first."""
        order = "-execution_date" if self.is_airflow_2 else "-run_after"
        found: list[dict[str, Any]] = self.call("GET", f"/dags/{dag_id}/dagRuns?order_by={order}&limit=100")["dag_runs"]
        return found

    def trigger(self, dag_id: str, conf: dict[str, object] | None = None) -> str:
        """Trigger a manual run and return its id."""
        body: dict[str, object] = {"conf": conf or {}}
        if not self.is_airflow_2:
            # A manual run has no data interval; Airflow 3 requires that to be explicit.
            body["logical_date"] = None
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run: queued, running, success or failed."""
        return str(self.call("GET", run_path(dag_id, run_id))["state"])

    def ended(self, dag_id: str, run_id: str) -> datetime:
        """Return when a finished run ended (UTC)."""
        return from_iso(self.call("GET", run_path(dag_id, run_id))["end_date"])

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Return the state of every task of a run by task id."""
        tasks = self.call("GET", f"{run_path(dag_id, run_id)}/taskInstances?limit=100")["task_instances"]
        return {str(task["task_id"]): str(task["state"]) for task in tasks}

    def set_variable(self, name: str, value: str) -> None:
        """Set an Airflow Variable, as the web interface does."""
        body: dict[str, object] = {"key": name, "value": value}
        try:
            self.call("POST", "/variables", body)
        except AirflowRefusedError as error:
            if not (isinstance(error.__cause__, urllib.error.HTTPError) and error.__cause__.code == _EXISTS):
                raise
            self.call("PATCH", f"/variables/{name}", body)

    def newest_run(self, dag_id: str) -> str | None:
        """Return the id of the run that started last; None if there is none."""
        runs = self.call("GET", f"/dags/{dag_id}/dagRuns?order_by=-start_date&limit=1")["dag_runs"]
        return str(runs[0]["dag_run_id"]) if runs else None

    def follow(self, dag_id: str, run_id: str, seconds: float) -> Iterator[DagRun]:
        """Yield the run every half second until it has finished or the time is up."""
        deadline = time.monotonic() + seconds
        path = run_path(dag_id, run_id)
        while time.monotonic() < deadline:
            state = str(self.call("GET", path)["state"])
            tasks = self.call("GET", f"{path}/taskInstances?limit=100")["task_instances"]
            done = sum(task["state"] in {"success", "failed", "skipped", "upstream_failed"} for task in tasks)
            run = DagRun(run_id, state, done, len(tasks))
            yield run
            if run.is_finished:
                return
            time.sleep(0.5)

    def page(self, path: str) -> str:
        """Return a page of the web interface.

        Raises:
            AirflowRefusedError: Airflow does not answer, or answers with an error.
        """
        return self._open("GET", path).decode()

    def call(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
        """Call the REST API and return its answer.

        Raises:
            AirflowRefusedError: Airflow does not answer, or answers with an error.
        """
        answer: dict[str, Any] = json.loads(self._open(method, f"{self._session_type.api}{path}", body) or b"{}")
        return answer

    def _open(self, method: str, path: str, body: dict[str, object] | None = None) -> bytes:
        data, headers = (
            (None, {}) if body is None else (json.dumps(body).encode(), {"Content-Type": "application/json"})
        )
        request = urllib.request.Request(self._url + path, data, headers, method=method)  # noqa: S310 - loopback http
        try:
            try:
                return self._read(request)
            except urllib.error.HTTPError as error:
                if error.code not in _LOGGED_OUT:
                    raise
                self._session = None
                return self._read(request)
        except urllib.error.HTTPError as error:
            raise AirflowRefusedError(
                f"Airflow answered {method} {path} with {error.code}: {_reason(error)}. See make logs."
            ) from error
        except OSError as error:
            raise AirflowRefusedError(f"Airflow does not answer {method} {path}: {error}. See make status.") from error

    def _read(self, request: urllib.request.Request) -> bytes:
        if self._session is None:
            self._session = self._session_type(self._url, self._login)
        return self._session.read(request)


def _reason(error: urllib.error.HTTPError) -> str:
    """The text of an error answer, or the name of its status."""
    try:
        answer = json.loads(error.read())
        return str(answer.get("detail") or answer.get("title")).strip()
    except (OSError, ValueError, AttributeError):
        return str(error.reason)


def run_path(dag_id: str, run_id: str) -> str:
    """Return the API's path of a run."""
    return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}"
