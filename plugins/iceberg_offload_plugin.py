"""Adds "Iceberg Offload" to Airflow's menu, and imports what tasks need ahead of time.

Airflow loads this file with every command, so it imports very little itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from offload_airflow.compat.plugin import AirflowPlugin, PageEntry, listeners
from offload_airflow.plugin.preload import Preload

if TYPE_CHECKING:
    from offload_airflow.compat.site import Page


def _pool() -> str:
    from offload_airflow.config.tables import load_settings

    return load_settings().pool


class IcebergOffloadPlugin(PageEntry, AirflowPlugin):
    """The page, and the listeners that make tasks start faster."""

    name = "iceberg_offload"
    listeners = (Preload(), *listeners(_pool))

    def page(self) -> Page:
        """The module that answers requests for the page. Only a web server imports it."""
        from offload_airflow.page import router

        return router
