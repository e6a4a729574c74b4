"""Where Airflow's own log lines go in a command of ours: the part of `compat` for the command line."""

from __future__ import annotations

from offload_airflow.airflow_line import AIRFLOW_3

if AIRFLOW_3:
    from offload_airflow.airflow3.console import logs_on_stderr
else:
    from offload_airflow.airflow2.console import logs_on_stderr

__all__ = ["logs_on_stderr"]
