"""How the page gets into Airflow's menu and among its addresses: the part of `compat` that is loaded everywhere, and therefore small."""

from __future__ import annotations

from offload_airflow.airflow_line import AIRFLOW_3

if AIRFLOW_3:
    from offload_airflow.airflow3.page_plugin import PageEntry
else:
    from offload_airflow.airflow2.page_plugin import PageEntry

__all__ = ["PageEntry"]
