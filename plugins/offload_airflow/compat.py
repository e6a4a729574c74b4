"""Everything that differs between Airflow 2.11 and Airflow 3: the rest of the package takes Airflow's names from here.

The look-ups of Variables and Connections are here too: Airflow's own log a backend's error and carry on, so that a
database that can't be reached looks like a Variable that was never set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.configuration import AIRFLOW_HOME, conf, ensure_secrets_loaded
from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException, AirflowTaskTimeout
from airflow.hooks.base import BaseHook
from airflow.models.baseoperator import BaseOperator
from airflow.models.connection import Connection
from airflow.models.dag import DAG
from airflow.models.param import Param
from airflow.models.pool import Pool
from airflow.models.variable import Variable
from airflow.secrets.cache import SecretCache
from airflow.sensors.base import BaseSensorOperator
from airflow.timetables.base import DataInterval
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.utils.context import Context
from airflow.utils.session import create_session
from airflow.utils.state import State
from airflow.utils.task_group import TaskGroup
from airflow.utils.trigger_rule import TriggerRule
from airflow.utils.types import DagRunType

from offload_core.errors import FixConfiguration

if TYPE_CHECKING:
    from airflow.secrets import BaseSecretsBackend

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
    "run_started",
    "sla_argument",
    "task_states",
]

_Answer = TypeVar("_Answer")
_NOTE = "offload_note"
"""Key of the XCom that carries a task's note."""


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


def _first_answer(ask: Callable[[BaseSecretsBackend], _Answer | None]) -> _Answer | None:
    failure: Exception | None = None
    for backend in ensure_secrets_loaded():
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
    with create_session() as session:
        stored = session.query(Variable.id).filter(Variable.key == key).first()
    if stored is not None:
        raise FixConfiguration(
            f"The Airflow Variable `{key}` is set but can't be decrypted.",
            "Restore [core] fernet_key, or set the Variable again.",
        )


def ensure_pool(name: str, slots: int, description: str) -> bool:
    """Create an Airflow pool if there is none of this name, and say whether it did; an existing one is left alone."""
    if Pool.get_pool(name) is not None:
        return False
    Pool.create_or_update_pool(name, slots=slots, description=description, include_deferred=False)
    return True


def data_interval(context: Context) -> tuple[datetime, datetime] | None:
    """Start and end of the run's data interval (UTC); None for a run started by hand, which has no interval of its own."""
    if context["dag_run"].run_type == DagRunType.MANUAL:
        return None
    return plain(context["data_interval_start"]), plain(context["data_interval_end"])


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


def leave_word(context: Context, key: str, text: str) -> None:
    """Leave something for the later runs of this task."""
    context["ti"].xcom_push(key=key, value=text)


def last_word(context: Context, key: str) -> str | None:
    """What a run of this task has left by `leave_word`, the newest; None: nothing."""
    found = context["ti"].xcom_pull(task_ids=context["ti"].task_id, key=key, include_prior_dates=True)
    return None if found is None else str(found)


def failed_before(context: Context) -> bool:
    """Whether this task had failed in the run before as well."""
    before = context["ti"].get_previous_ti()
    return before is not None and before.state == State.FAILED


def run_started(context: Context) -> datetime:
    """When the run started, or started again after it was cleared (UTC)."""
    started: datetime | None = context["dag_run"].start_date
    if started is None:
        raise RuntimeError(f"The run {context['run_id']} has a running task but has not started.")
    return plain(started)


def plain(moment: datetime) -> datetime:
    """The same moment without pendulum's arithmetic, which loses the zone when a timedelta is taken from it after astimezone()."""
    return datetime.fromisoformat(moment.isoformat())


def next_run_after(context: Context) -> datetime | None:
    """When the scheduler will start the next run (UTC); None if it won't."""
    interval = DataInterval(context["data_interval_start"], context["data_interval_end"])
    info = context["dag"].next_dagrun_info(interval)
    return info.run_after if info else None


def task_states(context: Context) -> dict[str, str | None]:
    """State of every task of this run, by task id; None for a task without one yet."""
    return {instance.task_id: instance.state for instance in context["dag_run"].get_task_instances()}


def log_folders(dag_ids: Iterable[str]) -> list[Path]:
    """Where this machine has the log files of these DAGs' tasks, as Airflow's own `[logging] log_filename_template` names them."""
    base = Path(conf.get_mandatory_value("logging", "base_log_folder"))
    return [base / f"dag_id={dag_id}" for dag_id in dag_ids]


def sla_argument(after: timedelta) -> dict[str, Any]:
    """The operator argument that makes a task's lateness a missed SLA; Airflow 3 has deadlines of runs instead."""
    return {"sla": after}
