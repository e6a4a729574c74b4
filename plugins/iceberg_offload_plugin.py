"""Puts "Iceberg Offload" into Airflow's menu, and imports ahead what tasks need.

Airflow loads this file with every command: it imports next to nothing itself.
"""

from __future__ import annotations

from offload_airflow.compat_page import PageEntry
from offload_airflow.compat_plugin import LISTENERS, AirflowPlugin
from offload_airflow.preload import Preload


class IcebergOffloadPlugin(PageEntry, AirflowPlugin):
    """The page, and what lets tasks start sooner."""

    name = "iceberg_offload"
    listeners = (Preload(), *LISTENERS)
