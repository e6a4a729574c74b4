"""Airflow's classes and exceptions in Airflow 2.11, where a task is late when it misses its SLA."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow.configuration import AIRFLOW_HOME, conf
from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException, AirflowTaskTimeout
from airflow.hooks.base import BaseHook
from airflow.models.baseoperator import BaseOperator
from airflow.models.connection import Connection
from airflow.models.dag import DAG
from airflow.models.param import Param
from airflow.sensors.base import BaseSensorOperator
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.utils.context import Context
from airflow.utils.task_group import TaskGroup
from airflow.utils.trigger_rule import TriggerRule

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


def task_limit(after: timedelta) -> dict[str, Any]:
    """The operator arguments of a task that is late if it has not ended this long after its run was due."""
    return {"sla": after}


def run_limit(
    after: timedelta,  # noqa: ARG001  # set on each task
    *,
    on_late_tasks: Callable[..., None],
    on_late_run: Callable[..., None],  # noqa: ARG001
) -> dict[str, Any]:
    """The DAG arguments that call `on_late_tasks` for late tasks."""
    return {"sla_miss_callback": on_late_tasks}
