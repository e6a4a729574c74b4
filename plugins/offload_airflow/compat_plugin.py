"""What the plugin file needs of Airflow: the part of `compat` that is loaded everywhere, and therefore small."""

from __future__ import annotations

import sys

from offload_airflow.airflow_line import AIRFLOW_3

if AIRFLOW_3:
    from offload_airflow.airflow3.plugin import FORKING, LISTENERS, TASK_RUNNERS, AirflowPlugin, hookimpl
else:
    from offload_airflow.airflow2.plugin import FORKING, LISTENERS, TASK_RUNNERS, AirflowPlugin, hookimpl

__all__ = ["FORKING", "LISTENERS", "TASK_RUNNERS", "AirflowPlugin", "forks_tasks", "hookimpl"]


def forks_tasks() -> bool:
    """Whether this process is one that forks those which run tasks or parse DAG files; its command says it, no attribute of it does."""
    return any(sys.argv[1 : 1 + len(command)] == command for command in FORKING)
