"""The severity matrix of the lag."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from offload_core.config.lag import LagLevel, LagMinutes, lag

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("minutes", "level"),
    [
        (0, LagLevel.NORMAL),
        (14.9, LagLevel.NORMAL),
        (15, LagLevel.ELEVATED),
        (20, LagLevel.ELEVATED),
        (20.1, LagLevel.WARNING),
        (30, LagLevel.WARNING),
        (30.1, LagLevel.CRITICAL),
        (45, LagLevel.CRITICAL),
        (45.1, LagLevel.SEVERE),
        (60, LagLevel.SEVERE),
        (60.1, LagLevel.EMERGENCY),
        (6000, LagLevel.EMERGENCY),
    ],
)
def test_a_lag_has_the_level_of_the_matrix(minutes: float, level: LagLevel) -> None:
    assert LagMinutes().level(timedelta(minutes=minutes)) is level


def test_the_bounds_follow_the_settings() -> None:
    bounds = LagMinutes(elevated=30, warning=40, critical=60, severe=90, emergency=120)
    assert bounds.level(timedelta(minutes=29)) is LagLevel.NORMAL
    assert bounds.level(timedelta(minutes=41)) is LagLevel.WARNING
    assert bounds.level(timedelta(minutes=121)) is LagLevel.EMERGENCY


def test_bounds_that_do_not_grow_are_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="critical must be more than warning, which is 40"):
        LagMinutes(warning=40)


def test_lag_is_the_time_since_the_last_success() -> None:
    assert lag(NOON - timedelta(minutes=7), NOON) == timedelta(minutes=7)


def test_lag_is_never_negative_when_clocks_differ() -> None:
    assert lag(NOON + timedelta(seconds=3), NOON) == timedelta()
