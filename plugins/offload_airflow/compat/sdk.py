"""Airflow's classes and exceptions for DAG files and tasks, and the arguments that set limits for late runs."""

from __future__ import annotations

from offload_airflow.compat.version import AIRFLOW_V_3_0_PLUS

if AIRFLOW_V_3_0_PLUS:
    from offload_airflow.compat.v3.sdk import *
else:
    from offload_airflow.compat.v2.sdk import *
