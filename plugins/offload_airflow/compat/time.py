"""Points in time as Airflow has them."""

from __future__ import annotations

from datetime import datetime


def plain(moment: datetime) -> datetime:
    """The same moment without pendulum's arithmetic, which loses the zone when a timedelta is taken from it after astimezone()."""
    return datetime.fromisoformat(moment.isoformat())
