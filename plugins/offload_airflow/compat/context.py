"""What a task can learn about its run and leave for other tasks: interval, conf, notes, state kept between runs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from offload_airflow.compat.sdk import Context, conf
from offload_airflow.compat.time import as_utc_datetime
from offload_airflow.compat.version import AIRFLOW_V_3_0_PLUS

if AIRFLOW_V_3_0_PLUS:
    from offload_airflow.compat.v3.context import *
else:
    from offload_airflow.compat.v2.context import *

_NOTE = "offload_note"
"""Key of the XCom that carries a task's note."""
_TRIGGERED = ("manual", "operator_triggered")
"""Types of runs that a person or another DAG has triggered."""


def data_interval(context: Context) -> tuple[datetime, datetime] | None:
    """Start and end of the run's data interval (UTC); None for a triggered run, which has no interval of its own."""
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start is None or end is None or context["dag_run"].run_type in _TRIGGERED:
        return None
    return as_utc_datetime(start), as_utc_datetime(end)


def run_conf(context: Context) -> dict[str, object]:
    """The conf that the run was triggered with; empty for a scheduled run."""
    conf = context["dag_run"].conf
    return dict(conf) if conf else {}


def save_note(context: Context, text: str) -> None:
    """Store a short result of this task for the run's closing task."""
    context["ti"].xcom_push(key=_NOTE, value=text)


def load_notes(context: Context, task_ids: Iterable[str]) -> dict[str, str]:
    """The notes that tasks of this run have stored with `save_note`, by task id."""
    found = {task_id: context["ti"].xcom_pull(task_ids=task_id, key=_NOTE) for task_id in task_ids}
    return {task_id: str(text) for task_id, text in found.items() if text is not None}


def run_started(context: Context) -> datetime:
    """When the run started, or restarted after it was cleared (UTC).

    Raises:
        RuntimeError: Airflow has no start time for the run.
    """
    started: datetime | None = context["dag_run"].start_date
    if started is None:
        raise RuntimeError(f"The run {context['run_id']} has a running task but no start time.")
    return as_utc_datetime(started)


def log_folders(dag_ids: Iterable[str]) -> list[Path]:
    """The folders on this machine with the log files of these DAGs' tasks.

    They follow the default `[logging] log_filename_template`.
    """
    base = Path(conf.get_mandatory_value("logging", "base_log_folder"))
    return [base / f"dag_id={dag_id}" for dag_id in dag_ids]
