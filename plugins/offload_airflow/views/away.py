"""What the page's addresses answer while Airflow's own database is away, and Airflow can't even tell who asks."""

from __future__ import annotations

from datetime import datetime, timezone

from offload_airflow.views.looking import airflow_is_away
from offload_airflow.views.site import NOT_STORED
from offload_core.status_page.compute import unreadable
from offload_core.status_page.render import content, document

MARK = {"X-Iceberg-Offload": "content", **NOT_STORED}
"""Headers by which an open page knows that an answer is its content."""


def told(error: Exception, path: str) -> str:
    """What is the matter: the content that an open page asks for, or a page of its own, by the path."""
    found = content(unreadable(airflow_is_away(error), None, datetime.now(timezone.utc)))
    return str(found if path.endswith("/content") else document(found))
