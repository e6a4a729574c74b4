"""Puts "Iceberg Offload" into Airflow's menu, and imports ahead what tasks need.

Airflow loads this file with every command: it imports next to nothing itself.
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
    """The page, and what lets tasks start sooner."""

    name = "iceberg_offload"
    listeners = (Preload(), *listeners(_pool))

    def page(self) -> Page:
        """The page's answers. Only a web server imports them."""
        from offload_airflow.page import router

        return router
