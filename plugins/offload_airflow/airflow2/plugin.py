"""What the plugin file takes from Airflow 2.11; loaded everywhere, and therefore small."""

from __future__ import annotations

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

__all__ = ["FORKING", "LISTENERS", "TASK_RUNNERS", "AirflowPlugin", "hookimpl"]

TASK_RUNNERS = (
    "airflow.cli.commands.task_command",
    "airflow.jobs.local_task_job_runner",
    "airflow.task.task_runner.standard_task_runner",
)
FORKING = (["scheduler"], ["dag-processor"], ["dags", "backfill"])
LISTENERS: tuple[object, ...] = ()
"""What else Airflow tells of what happens."""
