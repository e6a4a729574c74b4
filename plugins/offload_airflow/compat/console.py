"""Where Airflow's log lines go while the `offload` command runs."""

from __future__ import annotations

from offload_airflow.compat.version import AIRFLOW_V_3_0_PLUS

if AIRFLOW_V_3_0_PLUS:
    from offload_airflow.compat.v3.console import *
else:
    from offload_airflow.compat.v2.console import *
