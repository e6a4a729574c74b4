"""How late a table is, and how bad that is (R85). Lag is the time since a table was last offloaded with success."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum


class LagLevel(str, Enum):
    """The rows of the severity matrix, from harmless to worst."""

    NORMAL = "Normal"
    ELEVATED = "Elevated"
    WARNING = "Warning"
    CRITICAL = "Critical"
    SEVERE = "Severe"
    EMERGENCY = "Emergency"


_NORMAL_BELOW = timedelta(minutes=15)
_AT_MOST = (
    (timedelta(minutes=20), LagLevel.ELEVATED),
    (timedelta(minutes=30), LagLevel.WARNING),
    (timedelta(minutes=45), LagLevel.CRITICAL),
    (timedelta(minutes=60), LagLevel.SEVERE),
)


def lag(last_success: datetime, now: datetime) -> timedelta:
    """Time since the last successful offload, never negative; both moments zone-aware."""
    return max(now - last_success, timedelta())


def lag_level(value: timedelta) -> LagLevel:
    """The level of a lag; bounds are as in the alerts (`> 20`, `> 30`), and 15 minutes are no longer normal."""
    if value < _NORMAL_BELOW:
        return LagLevel.NORMAL
    return next((level for bound, level in _AT_MOST if value <= bound), LagLevel.EMERGENCY)
