"""The plugin file's share of Airflow 3. Every Airflow command loads it, so it imports very little."""

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
    """The scheduler's duties, for tasks of 3 do not reach Airflow's database.

    Args:
        pool: reads the name of the Spark tasks' pool.
    """
    return (SchedulerDuties(pool),)


class PageEntry:
    """The page as an application beside the API, and an entry of the menu. Only an API server imports the application."""

    def page(self) -> Page:
        """The page's answers."""
        raise NotImplementedError

    @property
    def external_views(self) -> list[dict[str, str]]:
        """The menu's entry. Every user sees it; the page tells those who may not read the DAG."""
        # Behind a proxy's path, the web interface takes addresses as they are.
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
        """The page's addresses."""
        from offload_airflow.compat.v3.web import application

        return [{"name": "Iceberg Offload", "app": application(self.page(), ROOT), "url_prefix": ROOT}]

    @property
    def fastapi_root_middlewares(self) -> list[dict[str, Any]]:
        """What answers at the page's addresses while Airflow itself cannot."""
        from offload_airflow.compat.v3.unavailable import DatabaseDownMiddleware

        arguments = {"root": ROOT, "page": self.page()}
        return [{"name": "Iceberg Offload", "middleware": DatabaseDownMiddleware, "kwargs": arguments}]
