"""The stack's Airflow over its REST API: the same calls that a user's own scripts would make."""

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
from install.airflow_version import AIRFLOW_2, Line
from offload_core.protocol.window import from_iso

_FINISHED = {"success", "failed"}
_LOGGED_OUT = {401, 403}
_EXISTS = 409


@dataclass(frozen=True)
class DagRun:
    """A run of a DAG and how far it is.

    Attributes:
        run_id: Airflow's id.
        state: queued, running, success or failed.
        done, tasks: finished tasks and all tasks.
    """

    run_id: str
    state: str
    done: int
    tasks: int

    @property
    def is_finished(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state in _FINISHED


class AirflowApi:
    """One Airflow's stable REST API.

    Args:
        url: its web address.
        user, password: an Airflow login that may trigger runs.
        line: Airflow's line: 2 has version 1 of the API, 3 has version 2.
    """

    def __init__(self, url: str, user: str, password: str, line: Line = AIRFLOW_2) -> None:
        self._url = url
        self._login = {"username": user, "password": password}
        self._kind = FormSession if line is AIRFLOW_2 else TokenSession
        self._health_page = line.health_page
        self._session: Session | None = None

    def wait_for_dag(self, dag_id: str, seconds: float) -> None:
        """Wait until the DAG processor has stored the DAG.

        Raises:
            AirflowRefusedError: it hasn't in time; the message has the import error, if there is one.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                self.summary(dag_id)
            except AirflowRefusedError:
                time.sleep(0.5)
            else:
                return
        broken = [error["stack_trace"] for error in self._call("GET", "/importErrors")["import_errors"]]
        raise AirflowRefusedError(f"Airflow doesn't know the DAG {dag_id}. See make logs.\n" + "\n".join(broken))

    def unpause(self, dag_id: str) -> bool:
        """Let the scheduler run the DAG; False if it did already."""
        if not self.is_paused(dag_id):
            return False
        self._call("PATCH", f"/dags/{dag_id}", {"is_paused": False})
        return True

    def pause(self, dag_id: str) -> None:
        """Keep the scheduler from running the DAG."""
        self._call("PATCH", f"/dags/{dag_id}", {"is_paused": True})

    def is_paused(self, dag_id: str) -> bool:
        """Whether the scheduler leaves the DAG alone."""
        return bool(self.summary(dag_id)["is_paused"])

    def summary(self, dag_id: str) -> dict[str, Any]:
        """What Airflow tells of a DAG."""
        return self._call("GET", f"/dags/{dag_id}")

    def next_due(self, dag_id: str) -> datetime | None:
        """When the scheduler makes the DAG's next run (UTC); None: it can't say, as while one is at work."""
        dag = self.summary(dag_id)
        due = dag["next_dagrun_create_after" if self._kind is FormSession else "next_dagrun_run_after"]
        return from_iso(due) if due else None

    def clear(self, dag_id: str, run_id: str, task_ids: Sequence[str] = ()) -> None:
        """Let a run, or only these tasks of it, run again."""
        body: dict[str, object] = {"dry_run": False, "only_failed": False, "reset_dag_runs": True, "dag_run_id": run_id}
        if task_ids:
            body["task_ids"] = list(task_ids)
        self._call("POST", f"/dags/{dag_id}/clearTaskInstances", body)

    def run_ids(self, dag_id: str) -> dict[datetime, str]:
        """The newest hundred runs by their logical dates (UTC)."""
        # A run that Airflow 3 was asked for by hand has no logical date.
        dated = [run for run in self.runs(dag_id) if run["logical_date"]]
        return {from_iso(run["logical_date"]): str(run["dag_run_id"]) for run in dated}

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """The newest hundred runs, the newest first, as Airflow tells of them."""
        order = "-execution_date" if self._kind is FormSession else "-run_after"
        found: list[dict[str, Any]] = self._call("GET", f"/dags/{dag_id}/dagRuns?order_by={order}&limit=100")[
            "dag_runs"
        ]
        return found

    def trigger(self, dag_id: str, conf: dict[str, object] | None = None) -> str:
        """Start a run by hand and return its id."""
        body: dict[str, object] = {"conf": conf or {}}
        if self._kind is TokenSession:
            # A run by hand has no interval; Airflow 3 wants that said.
            body["logical_date"] = None
        return str(self._call("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def state(self, dag_id: str, run_id: str) -> str:
        """The state of a run: queued, running, success or failed."""
        return str(self._call("GET", _run_path(dag_id, run_id))["state"])

    def ended(self, dag_id: str, run_id: str) -> datetime:
        """When a run that is over ended (UTC)."""
        return from_iso(self._call("GET", _run_path(dag_id, run_id))["end_date"])

    def mark_run(self, dag_id: str, run_id: str, state: str) -> None:
        """Give a run, and with it all its tasks, another state."""
        self._call("PATCH", _run_path(dag_id, run_id), {"state": state})

    def mark_task(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Give a task another state."""
        body: dict[str, object] = {"new_state": state}
        if self._kind is FormSession:
            body["dry_run"] = False
        self._call("PATCH", f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}", body)

    def delete_run(self, dag_id: str, run_id: str) -> None:
        """Delete a run and all that is known of it."""
        self._call("DELETE", _run_path(dag_id, run_id))

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """The state of every task of a run, by task id."""
        tasks = self._call("GET", f"{_run_path(dag_id, run_id)}/taskInstances?limit=100")["task_instances"]
        return {str(task["task_id"]): str(task["state"]) for task in tasks}

    def wait_for_tasks(self, dag_id: str, count: int, seconds: float) -> None:
        """Wait until the DAG, as Airflow has parsed it, has that many tasks.

        Raises:
            AirflowRefusedError: it hasn't in time.
        """
        deadline = time.monotonic() + seconds
        while len(self._call("GET", f"/dags/{quote(dag_id)}/tasks")["tasks"]) != count:
            if time.monotonic() > deadline:
                raise AirflowRefusedError(f"Airflow's DAG {dag_id} does not have {count} tasks. See make logs.")
            time.sleep(0.5)

    def set_variable(self, name: str, value: str) -> None:
        """Set an Airflow Variable, as the web interface does."""
        body: dict[str, object] = {"key": name, "value": value}
        try:
            self._call("POST", "/variables", body)
        except AirflowRefusedError as error:
            if not (isinstance(error.__cause__, urllib.error.HTTPError) and error.__cause__.code == _EXISTS):
                raise
            self._call("PATCH", f"/variables/{name}", body)

    def delete_variable(self, name: str) -> None:
        """Delete an Airflow Variable."""
        self._call("DELETE", f"/variables/{name}")

    def newest_run(self, dag_id: str) -> str | None:
        """Id of the run that was started last."""
        runs = self._call("GET", f"/dags/{dag_id}/dagRuns?order_by=-start_date&limit=1")["dag_runs"]
        return str(runs[0]["dag_run_id"]) if runs else None

    def wait_for_newer_run(self, dag_id: str, than: str, seconds: float) -> str:
        """Wait until a run has started after that one, and return its id.

        Raises:
            AirflowRefusedError: none has in time.
        """
        deadline = time.monotonic() + seconds
        while (run_id := self.newest_run(dag_id)) in (None, than):
            if time.monotonic() > deadline:
                raise AirflowRefusedError(f"Airflow's scheduler starts no run of {dag_id}. See make logs.")
            time.sleep(0.5)
        return str(run_id)

    def follow(self, dag_id: str, run_id: str, seconds: float) -> Iterator[DagRun]:
        """The run again and again until it has finished or the time is over."""
        deadline = time.monotonic() + seconds
        path = _run_path(dag_id, run_id)
        while time.monotonic() < deadline:
            state = str(self._call("GET", path)["state"])
            tasks = self._call("GET", f"{path}/taskInstances?limit=100")["task_instances"]
            done = sum(task["state"] in {"success", "failed", "skipped", "upstream_failed"} for task in tasks)
            run = DagRun(run_id, state, done, len(tasks))
            yield run
            if run.is_finished:
                return
            time.sleep(0.5)

    def has_backfills(self, dag_id: str) -> bool:
        """Whether a backfill of the DAG, which Airflow 3's scheduler runs, has not ended."""
        found = self._call("GET", f"/backfills?dag_id={quote(dag_id)}")["backfills"]
        return any(backfill["completed_at"] is None for backfill in found)

    def events(self, dag_id: str, event: str) -> list[dict[str, Any]]:
        """Entries of the audit log, the newest first."""
        path = f"/eventLogs?dag_id={quote(dag_id)}&event={quote(event)}&order_by=-when"
        found: list[dict[str, Any]] = self._call("GET", path)["event_logs"]
        return found

    def is_scheduler_healthy(self) -> bool:
        """Whether Airflow has had a sign of life of a scheduler in the last half minute."""
        return bool(json.loads(self.page(self._health_page))["scheduler"]["status"] == "healthy")

    def page(self, path: str) -> str:
        """A page of the web interface.

        Raises:
            AirflowRefusedError: it doesn't answer, or not with a page.
        """
        return self._open("GET", path).decode()

    def _call(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._open(method, f"{self._kind.api}{path}", body) or b"{}")
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
            raise AirflowRefusedError(f"Airflow doesn't answer {method} {path}: {error}. See make status.") from error

    def _read(self, request: urllib.request.Request) -> bytes:
        if self._session is None:
            self._session = self._kind(self._url, self._login)
        return self._session.read(request)


def _reason(error: urllib.error.HTTPError) -> str:
    """What the answer says beside its status."""
    try:
        answer = json.loads(error.read())
        return str(answer.get("detail") or answer.get("title")).strip()
    except (OSError, ValueError, AttributeError):
        return str(error.reason)


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}"
