"""What the plugin file takes from Airflow 3; loaded everywhere, and therefore small."""

from __future__ import annotations

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from offload_airflow.airflow3.scheduler_duties import SchedulerDuties

__all__ = ["FORKING", "LISTENERS", "TASK_RUNNERS", "AirflowPlugin", "hookimpl"]

TASK_RUNNERS = (
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
)
FORKING = (["scheduler"], ["dag-processor"])
LISTENERS: tuple[object, ...] = (SchedulerDuties(),)
"""What else Airflow tells of what happens."""
