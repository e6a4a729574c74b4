"""Airflow as the rest of the package knows it, the same on 2.11 and on 3: nothing else imports what differs between them.

What one line has in its own way is in `airflow2/` or `airflow3/`; this module and its siblings `compat_…` choose and have the rest.
The look-ups of Variables and Connections are here too: Airflow's own log a backend's error and carry on, so that a
database that can't be reached looks like a Variable that was never set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from offload_airflow.airflow_line import AIRFLOW_3
from offload_airflow.moments import plain
from offload_core.errors import FixConfiguration

if AIRFLOW_3:
    from offload_airflow.airflow3.lateness import run_limit, task_limit
    from offload_airflow.airflow3.names import (
        AIRFLOW_HOME,
        DAG,
        AirflowException,
        AirflowFailException,
        AirflowSkipException,
        AirflowTaskTimeout,
        BaseHook,
        BaseOperator,
        BaseSensorOperator,
        Connection,
        Context,
        CronDataIntervalTimetable,
        Param,
        TaskGroup,
        TriggerRule,
        conf,
    )
    from offload_airflow.airflow3.secrets import SecretCache, backends, is_stored
    from offload_airflow.airflow3.tasks import (
        adopt_backfills,
        ensure_pool,
        failed_before,
        last_word,
        leave_word,
        next_run_after,
        task_states,
    )
else:
    from offload_airflow.airflow2.lateness import run_limit, task_limit
    from offload_airflow.airflow2.names import (
        AIRFLOW_HOME,
        DAG,
        AirflowException,
        AirflowFailException,
        AirflowSkipException,
        AirflowTaskTimeout,
        BaseHook,
        BaseOperator,
        BaseSensorOperator,
        Connection,
        Context,
        CronDataIntervalTimetable,
        Param,
        TaskGroup,
        TriggerRule,
        conf,
    )
    from offload_airflow.airflow2.secrets import SecretCache, backends, is_stored
    from offload_airflow.airflow2.tasks import (
        adopt_backfills,
        ensure_pool,
        failed_before,
        last_word,
        leave_word,
        next_run_after,
        task_states,
    )

__all__ = [
    "AIRFLOW_HOME",
    "DAG",
    "AirflowException",
    "AirflowFailException",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "BaseHook",
    "BaseOperator",
    "BaseSensorOperator",
    "Connection",
    "Context",
    "CronDataIntervalTimetable",
    "Param",
    "TaskGroup",
    "TriggerRule",
    "adopt_backfills",
    "conf",
    "data_interval",
    "ensure_pool",
    "failed_before",
    "find_connection",
    "find_variable",
    "last_word",
    "leave_note",
    "leave_word",
    "log_folders",
    "next_run_after",
    "notes",
    "plain",
    "require_connection",
    "run_conf",
    "run_limit",
    "run_started",
    "task_limit",
    "task_states",
]

_Answer = TypeVar("_Answer")
_NOTE = "offload_note"
"""Key of the XCom that carries a task's note."""
_BY_HAND = ("manual", "operator_triggered")
"""Types of runs that somebody, or another DAG, has triggered."""


def find_variable(key: str) -> str | None:
    """The text of an Airflow Variable, or None if it is set nowhere.

    Raises:
        FixConfiguration: it is set, but can't be decrypted.
        Exception: what a secrets backend raised, if no other one has the Variable.
    """
    with suppress(SecretCache.NotPresentException):
        return SecretCache.get_variable(key)
    value = _first_answer(lambda backend: backend.get_variable(key))
    if value is None:
        _refuse_unreadable(key)
    SecretCache.save_variable(key, value)
    return value


def find_connection(conn_id: str) -> Connection | None:
    """An Airflow Connection, or None if it exists nowhere.

    Raises:
        Exception: what a secrets backend raised, if no other one has the Connection.
    """
    return _first_answer(lambda backend: backend.get_connection(conn_id))


def require_connection(conn_id: str) -> Connection:
    """An Airflow Connection.

    Raises:
        FixConfiguration: it exists nowhere.
        Exception: what a secrets backend raised, if no other one has the Connection.
    """
    connection = find_connection(conn_id)
    if connection is None:
        raise FixConfiguration(
            f"The Airflow Connection `{conn_id}` does not exist.",
            f"Create it (Admin, Connections, or AIRFLOW_CONN_{conn_id.upper()}), or name another one in the settings.",
        )
    return connection


def _first_answer(ask: Callable[[Any], _Answer | None]) -> _Answer | None:
    failure: Exception | None = None
    for backend in backends():
        try:
            answer = ask(backend)
        except Exception as error:  # whatever a backend raises, a later one may still have the answer
            failure = failure or error
        else:
            if answer is not None:
                return answer
    if failure is not None:
        raise failure
    return None


def _refuse_unreadable(key: str) -> None:
    # Airflow reads a Variable whose Fernet key has changed as unset.
    if is_stored(key):
        raise FixConfiguration(
            f"The Airflow Variable `{key}` is set but can't be decrypted.",
            "Restore [core] fernet_key, or set the Variable again.",
        )


def data_interval(context: Context) -> tuple[datetime, datetime] | None:
    """Start and end of the run's data interval (UTC); None for a run started by hand, which has no interval of its own."""
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start is None or end is None or context["dag_run"].run_type in _BY_HAND:
        return None
    return plain(start), plain(end)


def run_conf(context: Context) -> dict[str, object]:
    """What the run was triggered with; empty for a scheduled one."""
    conf = context["dag_run"].conf
    return dict(conf) if conf else {}


def leave_note(context: Context, text: str) -> None:
    """Say in a few words what a task found, for the run's closing task."""
    context["ti"].xcom_push(key=_NOTE, value=text)


def notes(context: Context, task_ids: Iterable[str]) -> dict[str, str]:
    """What tasks of this run have left by `leave_note`, by task id."""
    found = {task_id: context["ti"].xcom_pull(task_ids=task_id, key=_NOTE) for task_id in task_ids}
    return {task_id: str(text) for task_id, text in found.items() if text is not None}


def run_started(context: Context) -> datetime:
    """When the run started, or started again after it was cleared (UTC)."""
    started: datetime | None = context["dag_run"].start_date
    if started is None:
        raise RuntimeError(f"The run {context['run_id']} has a running task but has not started.")
    return plain(started)


def log_folders(dag_ids: Iterable[str]) -> list[Path]:
    """Where this machine has the log files of these DAGs' tasks, as Airflow's own `[logging] log_filename_template` names them."""
    base = Path(conf.get_mandatory_value("logging", "base_log_folder"))
    return [base / f"dag_id={dag_id}" for dag_id in dag_ids]
