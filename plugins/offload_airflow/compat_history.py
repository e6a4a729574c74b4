"""What a report asks Airflow: the part of `compat` about past cycles and the scheduler's restarts."""

from __future__ import annotations

from offload_airflow.airflow_line import AIRFLOW_3

if AIRFLOW_3:
    from offload_airflow.airflow3.history import airflow_history
else:
    from offload_airflow.airflow2.history import airflow_history

__all__ = ["airflow_history"]
