"""What `offload doctor` and the alerts ask Airflow: the part of `compat` about scheduler, DAG and past runs."""

from __future__ import annotations

from offload_airflow.airflow_line import AIRFLOW_3
from offload_airflow.asked import DagState, PastRun, SchedulerState

if AIRFLOW_3:
    from offload_airflow.airflow3.health import dag_state, latest_runs, running_since, scheduler_state
else:
    from offload_airflow.airflow2.health import dag_state, latest_runs, running_since, scheduler_state

__all__ = [
    "DagState",
    "PastRun",
    "SchedulerState",
    "dag_state",
    "latest_runs",
    "running_since",
    "scheduler_state",
]
