"""What the plugin file needs of Airflow: the part of `compat` that is loaded everywhere, and therefore small."""

from __future__ import annotations

import sys

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

__all__ = ["TASK_RUNNERS", "AirflowPlugin", "forks_tasks", "hookimpl"]

TASK_RUNNERS = (
    "airflow.cli.commands.task_command",
    "airflow.jobs.local_task_job_runner",
    "airflow.task.task_runner.standard_task_runner",
)
"""What Airflow itself imports anew in each process that it forks for a task."""
_FORKING = (["scheduler"], ["dag-processor"], ["dags", "backfill"])


def forks_tasks() -> bool:
    """Whether this process is one that forks those which run tasks or parse DAG files; its command says it, no attribute of it does."""
    return any(sys.argv[1 : 1 + len(command)] == command for command in _FORKING)
