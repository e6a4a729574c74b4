"""Puts "Iceberg Offload" into Airflow's menu, and imports ahead what tasks need.

Airflow loads this file with every command: it imports next to nothing itself.
"""

from __future__ import annotations

from typing import Any

from offload_airflow.compat_plugin import LISTENERS, MENU, AirflowPlugin
from offload_airflow.preload import Preload


class IcebergOffloadPlugin(AirflowPlugin):
    """The page, whose view only a webserver asks for and imports, and what lets tasks start sooner."""

    name = "iceberg_offload"
    appbuilder_menu_items = MENU
    listeners = (Preload(), *LISTENERS)

    @property
    def appbuilder_views(self) -> list[dict[str, Any]]:
        """The page without a menu entry of its own name, which would need a permission of its own."""
        from offload_airflow.views.page import IcebergOffloadView

        return [{"view": IcebergOffloadView()}]
