"""One DAG's runs: the part of `compat` that backfills need."""

from __future__ import annotations

from offload_airflow.airflow_line import AIRFLOW_3
from offload_airflow.asked import RunState

if AIRFLOW_3:
    from offload_airflow.airflow3.dag_runs import DagRuns
else:
    from offload_airflow.airflow2.dag_runs import DagRuns

__all__ = ["DagRuns", "RunState"]
