"""How the page writes moments and durations."""

from __future__ import annotations

from datetime import datetime, timedelta

from offload_ops.status_page.model import Moment
from offload_ops.text import duration

_DAY = timedelta(days=1)


def moment(value: datetime, now: datetime) -> Moment:
    """A moment (UTC) beside the present; the date is left out for what was today."""
    at = f"{value:%H:%M}" if value.date() == now.date() else f"{value:%Y-%m-%d %H:%M}"
    return Moment(value, at, ago(now - value))


def ago(value: timedelta) -> str:
    """How long ago something was, or how far ahead it lies."""
    return f"in {roughly(-value)}" if value < timedelta() else f"{roughly(value)} ago"


def roughly(value: timedelta) -> str:
    """A duration without seconds from a minute on, and without hours from three days on."""
    if value < timedelta(minutes=1):
        return f"{int(value.total_seconds())} s"
    if value >= 3 * _DAY:
        return f"{value // _DAY} d"
    return duration(value - value % timedelta(minutes=1))


def count(number: int, thing: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
