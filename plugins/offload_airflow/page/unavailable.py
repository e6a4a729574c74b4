"""The answer at the page's addresses while Airflow's own database is down and Airflow cannot even tell who asks."""

from __future__ import annotations

from datetime import datetime, timezone
from http import HTTPStatus

from offload_airflow.compat.site import NOT_STORED, Answer
from offload_airflow.page.content import airflow_unavailable
from offload_ops.status_page.compute import unreadable
from offload_ops.status_page.render import content, document

MARK = {"X-Iceberg-Offload": "content", **NOT_STORED}
"""Headers by which an open page knows that an answer is its content."""


def unavailable(error: Exception, path: str) -> Answer:
    """The reason and the remedy: as content for an open page, as a page of its own otherwise, by the path."""
    body = content(unreadable(airflow_unavailable(error), None, datetime.now(timezone.utc)))
    return Answer(str(body if path.endswith("/content") else document(body)), HTTPStatus.SERVICE_UNAVAILABLE, MARK)
