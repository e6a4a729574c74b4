"""The state of the scheduler and of a DAG, and the DAG's latest runs."""

from __future__ import annotations

from offload_airflow.compat.version import AIRFLOW_V_3_0_PLUS

if AIRFLOW_V_3_0_PLUS:
    from offload_airflow.compat.v3.health import *
else:
    from offload_airflow.compat.v2.health import *
