"""ClickHouse's hook of airflow-clickhouse-plugin, which still takes Airflow's `BaseHook` from where Airflow 3 warns of it."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=r".*airflow\.hooks\.base\.BaseHook.*deprecated")
    from airflow_clickhouse_plugin.hooks.clickhouse import ClickHouseHook, conn_to_kwargs

__all__ = ["ClickHouseHook", "conn_to_kwargs"]
