"""Airflow's names, as the Task SDK of Airflow 3 has them."""

from __future__ import annotations

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
]
