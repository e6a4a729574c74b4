"""What the page's addresses answer while Airflow's own database is away, and Airflow can't even tell who asks."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from flask import Flask

from offload_airflow.views.looking import airflow_is_away
from offload_core.status_page.compute import unreadable
from offload_core.status_page.render import content, document

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

MARK = {"X-Iceberg-Offload": "content", "Cache-Control": "no-store"}
"""Headers by which an open page knows that an answer is its content."""


def answer_for_airflow(app: Flask, route: str) -> None:
    """Let the addresses below `route` say what is the matter where the application fails; all others stay as they are."""
    airflow: WSGIApplication = app.wsgi_app

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if f"{route}/" not in str(environ.get("PATH_INFO", "")):
            return airflow(environ, start_response)
        try:
            return airflow(environ, start_response)
        except Exception as error:  # whatever it is, nobody shall see a stack trace
            log.exception("Airflow could not answer.")
            start_response("503 Service Unavailable", [("Content-Type", "text/html; charset=utf-8"), *MARK.items()])
            return [_page(error, is_content=str(environ["PATH_INFO"]).endswith("/content"))]

    app.wsgi_app = guarded  # type: ignore[method-assign]


def _page(error: Exception, *, is_content: bool) -> bytes:
    told = content(unreadable(airflow_is_away(error), None, datetime.now(timezone.utc)))
    return str(told if is_content else document(told)).encode()
