"""Airflow's classes and exceptions from the Task SDK of Airflow 3, and lateness as 3 knows it: a run misses its deadline."""

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


def task_limit(after: timedelta) -> dict[str, Any]:  # noqa: ARG001  # the run has it
    """No operator arguments: tasks have no deadlines of their own."""
    return {}


def run_limit(
    after: timedelta,
    *,
    of_tasks: Callable[..., None],  # noqa: ARG001
    of_run: Callable[..., None],
) -> dict[str, Any]:
    """The DAG arguments that have a run told that has not ended so long after it was queued."""
    alert = DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, interval=after, callback=SyncCallback(of_run))
    return {"deadline": alert}
