"""What the plugin file needs from Airflow 3. Every Airflow command loads it, so it imports very little."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from offload_airflow.compat.v3.scheduler_duties import SchedulerDuties

if TYPE_CHECKING:
    from offload_airflow.compat.site import Page

__all__ = ["FORKING", "TASK_RUNNERS", "AirflowPlugin", "PageEntry", "hookimpl", "listeners"]

ROOT = "/iceberg-offload"
TASK_RUNNERS = (
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
)
FORKING = (["scheduler"], ["dag-processor"])


def listeners(pool: Callable[[], str]) -> tuple[object, ...]:
    """A listener in the scheduler, because the tasks of Airflow 3 cannot reach its database.

    Args:
        pool: returns the name of the Spark tasks' pool.
    """
    return (SchedulerDuties(pool),)


class PageEntry:
    """The page as an application beside the API, and a menu entry. Only an API server imports the application."""

    def page(self) -> Page:
        """The module that answers requests for the page."""
        raise NotImplementedError

    @property
    def external_views(self) -> list[dict[str, str]]:
        """The menu entry. Every user sees it; the page refuses users who may not read the DAG."""
        # The web interface does not add the path of a proxy to these addresses.
        base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
        return [
            {
                "name": "Iceberg Offload",
                "href": f"{base}{ROOT}/",
                "destination": "nav",
                "url_route": "iceberg-offload",
                "icon": f"{base}{ROOT}/file/icon.svg",
            }
        ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:
        """The application with the page's addresses."""
        from offload_airflow.compat.v3.web import application

        return [{"name": "Iceberg Offload", "app": application(self.page(), ROOT), "url_prefix": ROOT}]

    @property
    def fastapi_root_middlewares(self) -> list[dict[str, Any]]:
        """The middleware that answers at the page's addresses while Airflow itself cannot."""
        from offload_airflow.compat.v3.unavailable import DatabaseDownMiddleware

        arguments = {"root": ROOT, "page": self.page()}
        return [{"name": "Iceberg Offload", "middleware": DatabaseDownMiddleware, "kwargs": arguments}]
