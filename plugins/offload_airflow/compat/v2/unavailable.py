"""Answers for the page's addresses when Airflow 2's webserver fails before it reaches them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask

from offload_airflow.compat.site import Page

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)


def answer_for_airflow(app: Flask, route: str, page: Page) -> None:
    """Guard the addresses below `route`; all other addresses stay as they are."""
    airflow: WSGIApplication = app.wsgi_app

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if f"{route}/" not in str(environ.get("PATH_INFO", "")):
            return airflow(environ, start_response)
        try:
            return airflow(environ, start_response)
        except Exception as error:  # a browser must never see a stack trace
            log.exception("Airflow could not answer.")
            answer = page.unavailable(error, str(environ["PATH_INFO"]))
            status = f"{answer.status.value} {answer.status.phrase}"
            start_response(status, [("Content-Type", answer.media_type), *answer.headers.items()])
            return [answer.body if isinstance(answer.body, bytes) else answer.body.encode()]

    app.wsgi_app = guarded  # type: ignore[method-assign]
