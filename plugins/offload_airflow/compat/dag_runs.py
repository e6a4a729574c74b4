"""The runs of one DAG, and Airflow's backfills of it. Only for processes that can reach Airflow's database."""

from __future__ import annotations

from offload_airflow.compat.version import AIRFLOW_V_3_0_PLUS

if AIRFLOW_V_3_0_PLUS:
    from offload_airflow.compat.v3.backfills import *
    from offload_airflow.compat.v3.dag_runs import *
else:
    from offload_airflow.compat.v2.backfills import *
    from offload_airflow.compat.v2.dag_runs import *
