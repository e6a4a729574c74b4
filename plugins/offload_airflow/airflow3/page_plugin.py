"""The page as a plugin of Airflow 3's: an application of its own beside the API, and an entry of the menu that shows it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf

ROOT = "/iceberg-offload"


class PageEntry:
    """The page, whose application only an API server asks for and imports."""

    @property
    def external_views(self) -> list[dict[str, str]]:
        """The menu's entry. Everybody who logs in sees it; who may not read the DAG is told so there."""
        # Where Airflow is behind a path of somebody's proxy, the web interface takes addresses as they are.
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

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:
        """The page's addresses."""
        from offload_airflow.airflow3.web import application

        return [{"name": "Iceberg Offload", "app": application(), "url_prefix": ROOT}]

    @property
    def fastapi_root_middlewares(self) -> list[dict[str, Any]]:
        """What answers at the page's addresses while Airflow itself can't."""
        from offload_airflow.airflow3.away import AwayMiddleware

        return [{"name": "Iceberg Offload", "middleware": AwayMiddleware, "kwargs": {"root": ROOT}}]
