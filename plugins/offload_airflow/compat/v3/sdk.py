"""Airflow's classes and exceptions in Airflow 3, where a run is late when it misses its deadline."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow.configuration import AIRFLOW_HOME
from airflow.sdk import (
    DAG,
    BaseHook,
    BaseOperator,
    BaseSensorOperator,
    Connection,
    Context,
    CronDataIntervalTimetable,
    Param,
    TaskGroup,
    TriggerRule,
)
from airflow.sdk.configuration import conf
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
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
    "conf",
    "run_limit",
    "task_limit",
]


def task_limit(after: timedelta) -> dict[str, Any]:  # noqa: ARG001  # set on the run
    """No operator arguments: in Airflow 3 only runs have deadlines."""
    return {}


def run_limit(
    after: timedelta,
    *,
    on_late_tasks: Callable[..., None],  # noqa: ARG001
    on_late_run: Callable[..., None],
) -> dict[str, Any]:
    """The DAG arguments that call `on_late_run` for a run that has not ended this long after it was queued."""
    alert = DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, interval=after, callback=SyncCallback(on_late_run))
    return {"deadline": alert}
