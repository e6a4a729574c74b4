"""Puts "Iceberg Offload" into Airflow's menu. Airflow loads this file with every DAG parsing and command: it imports next to nothing."""

from __future__ import annotations

from typing import Any

from offload_airflow.compat_plugin import MENU, AirflowPlugin


class IcebergOffloadPlugin(AirflowPlugin):
    """The page; only a webserver asks for its view, and only there is it imported."""

    name = "iceberg_offload"
    appbuilder_menu_items = MENU

    @property
    def appbuilder_views(self) -> list[dict[str, Any]]:
        """The page without a menu entry of its own name, which would need a permission of its own."""
        from offload_airflow.views.page import IcebergOffloadView

        return [{"view": IcebergOffloadView()}]
