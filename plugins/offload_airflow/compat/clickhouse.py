"""The ClickHouse hook of airflow-clickhouse-plugin.

The plugin imports `BaseHook` from a place that Airflow 3 has deprecated; the warning is suppressed here.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=r".*airflow\.hooks\.base\.BaseHook.*deprecated")
    from airflow_clickhouse_plugin.hooks.clickhouse import ClickHouseHook, conn_to_kwargs

__all__ = ["ClickHouseHook", "conn_to_kwargs"]
