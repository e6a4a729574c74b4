"""Points in time as Airflow has them."""

from __future__ import annotations

from datetime import datetime


def as_utc_datetime(moment: datetime) -> datetime:
    """The same moment as a standard `datetime`.

    Airflow's pendulum values lose their zone when a timedelta is subtracted from them after `astimezone()`.
    """
    return datetime.fromisoformat(moment.isoformat())
