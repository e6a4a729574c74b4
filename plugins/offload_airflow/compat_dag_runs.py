"""One DAG's runs, and Airflow's own backfills of it: the part of `compat` that `offload backfill` needs."""

from __future__ import annotations

from offload_airflow.airflow_line import AIRFLOW_3
from offload_airflow.asked import RunState

if AIRFLOW_3:
    from offload_airflow.airflow3.backfills import run_intervals
    from offload_airflow.airflow3.dag_runs import DagRuns
else:
    from offload_airflow.airflow2.backfills import run_intervals
    from offload_airflow.airflow2.dag_runs import DagRuns

__all__ = ["DagRuns", "RunState", "run_intervals"]
