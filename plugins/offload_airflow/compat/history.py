"""Past cycles and scheduler restarts, for reports."""

from __future__ import annotations

from offload_airflow.compat.version import AIRFLOW_V_3_0_PLUS

if AIRFLOW_V_3_0_PLUS:
    from offload_airflow.compat.v3.history import *
else:
    from offload_airflow.compat.v2.history import *
