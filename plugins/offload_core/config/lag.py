"""How late a table is, and how bad that is. Lag is the time since a table was last offloaded with success."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from itertools import pairwise
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Minutes = Annotated[float, Field(gt=0, le=1440)]


class LagLevel(str, Enum):
    """The rows of the severity matrix, from harmless to worst."""

    NORMAL = "Normal"
    ELEVATED = "Elevated"
    WARNING = "Warning"
    CRITICAL = "Critical"
    SEVERE = "Severe"
    EMERGENCY = "Emergency"


class LagMinutes(BaseModel):
    """The bounds between the levels, in minutes. The defaults fit a cycle every 15 minutes.

    As in the alerts' rules (`> 20`, `> 30`), a lag that is equal to a bound has not crossed it. Only at the bound of
    Elevated a lag is no longer normal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    elevated: Annotated[
        _Minutes, Field(description="From here on, a lag is no longer normal; nobody is notified yet.")
    ] = 15
    warning: Annotated[_Minutes, Field(description="Above it: Warning. A healthy cycle must end before.")] = 20
    critical: Annotated[_Minutes, Field(description="Above it: Critical. The objective: no table is ever later.")] = 30
    severe: Annotated[_Minutes, Field(description="Above it: Severe.")] = 45
    emergency: Annotated[_Minutes, Field(description="Above it: Emergency; `page_recipients` are notified, too.")] = 60

    @model_validator(mode="after")
    def _grow(self) -> LagMinutes:
        for (name, minutes), (following, more) in pairwise(self):
            if more <= minutes:
                raise ValueError(f"{following} must be more than {name}, which is {minutes:g}")
        return self

    def bound(self, level: LagLevel) -> timedelta:
        """The lag above which a table has this level; 0 for Normal."""
        return timedelta() if level is LagLevel.NORMAL else timedelta(minutes=getattr(self, level.name.lower()))

    def level(self, value: timedelta) -> LagLevel:
        """The level of a lag."""
        if value < self.bound(LagLevel.ELEVATED):
            return LagLevel.NORMAL
        worse = (LagLevel.EMERGENCY, LagLevel.SEVERE, LagLevel.CRITICAL, LagLevel.WARNING)
        return next((level for level in worse if value > self.bound(level)), LagLevel.ELEVATED)


def lag(last_success: datetime, now: datetime) -> timedelta:
    """Time since the last successful offload, never negative; both moments zone-aware."""
    return max(now - last_success, timedelta())
