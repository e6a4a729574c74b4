"""The severity matrix of the lag."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from offload_core.lag import LagLevel, lag, lag_level

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
    assert lag_level(timedelta(minutes=minutes)) is level


def test_lag_is_the_time_since_the_last_success() -> None:
    assert lag(NOON - timedelta(minutes=7), NOON) == timedelta(minutes=7)


def test_lag_is_never_negative_when_clocks_differ() -> None:
    assert lag(NOON + timedelta(seconds=3), NOON) == timedelta()
