"""The page as a plugin of Airflow 2's: a view and an entry of the menu."""

from __future__ import annotations

from typing import Any


class PageEntry:
    """The page, whose view only a webserver asks for and imports."""

    # An entry of the menu is shown to those who may open the menu of its `name`: so everybody who sees "DAGs" sees this one too, and no
    # role has to be given a permission that Airflow's own roles lack.
    appbuilder_menu_items = ({"name": "DAGs", "label": "Iceberg Offload", "href": "/iceberg-offload/"},)

    @property
    def appbuilder_views(self) -> list[dict[str, Any]]:
        """The page without a menu entry of its own name, which would need a permission of its own."""
        from offload_airflow.airflow2.web import IcebergOffloadView

        return [{"view": IcebergOffloadView()}]
