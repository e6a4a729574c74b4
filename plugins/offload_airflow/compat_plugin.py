"""What the plugin file needs of Airflow: the part of `compat` that is loaded everywhere, and therefore small."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

__all__ = ["MENU", "AirflowPlugin"]

# An entry of the menu is shown to those who may open the menu of its `name`: so everybody who sees "DAGs" sees this one too, and no
# role has to be given a permission that Airflow's own roles lack.
MENU = [{"name": "DAGs", "label": "Iceberg Offload", "href": "/iceberg-offload/"}]
