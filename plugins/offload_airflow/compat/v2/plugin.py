"""What the plugin file needs from Airflow 2.11. Every Airflow command loads it, so it imports very little."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from offload_airflow.compat.site import Page

__all__ = ["FORKING", "TASK_RUNNERS", "AirflowPlugin", "PageEntry", "hookimpl", "listeners"]

TASK_RUNNERS = (
    "airflow.cli.commands.task_command",
    "airflow.jobs.local_task_job_runner",
    "airflow.task.task_runner.standard_task_runner",
)
FORKING = (["scheduler"], ["dag-processor"], ["dags", "backfill"])


def listeners(pool: Callable[[], str]) -> tuple[object, ...]:  # noqa: ARG001
    """No listeners: the tasks of Airflow 2.11 reach its database and create the pool themselves."""
    return ()


class PageEntry:
    """The page as a view and a menu entry. Only a webserver asks for the view and imports it."""

    # Everybody who may open the menu `name` sees the entry. So everybody who sees "DAGs" sees this one too, and no role
    # needs a permission that Airflow's own roles lack.
    appbuilder_menu_items = ({"name": "DAGs", "label": "Iceberg Offload", "href": "/iceberg-offload/"},)

    def page(self) -> Page:
        """The module that answers requests for the page."""
        raise NotImplementedError

    @property
    def appbuilder_views(self) -> list[dict[str, Any]]:
        """The page's view. It has no menu entry of its own name, which would need its own permission."""
        from offload_airflow.compat.v2.web import IcebergOffloadView

        return [{"view": IcebergOffloadView(self.page())}]
