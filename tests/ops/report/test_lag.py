"""How late a table was: exact figures, checked against a minute-by-minute count."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload_core.config.lag import LagMinutes
from offload_core.protocol.window import Interval
from offload_ops.report.lag import LagPeriod, freshness

START = datetime(2026, 2, 16, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
HOURS = 6
END = START + timedelta(hours=HOURS)
BOUNDS = LagMinutes()


def at(minutes: float) -> datetime:
    return START + minutes * MINUTE


def until(minutes: float, bounds: LagMinutes = BOUNDS) -> LagPeriod:
    """The period, known up to this minute."""
    return LagPeriod(Interval(START, END), bounds, at(minutes))


def test_lag_grows_from_one_success_to_the_next():
    result = freshness([at(-10), at(5), at(50)], at(-9999), until(60))

    assert result.longest == 45 * MINUTE
    assert result.late == 25 * MINUTE
    assert result.too_late == 15 * MINUTE
    assert result.observed == 60 * MINUTE
    assert result.by_hour == (45 * MINUTE, None, None, None, None, None)


def test_a_lag_that_began_before_the_period_counts_from_its_beginning_on():
    result = freshness([at(-100)], at(-9999), until(10))

    assert (result.observed, result.late, result.too_late) == (10 * MINUTE, 10 * MINUTE, 10 * MINUTE)
    assert result.longest == 110 * MINUTE


def test_exactly_thirty_minutes_is_still_in_time():
    result = freshness([at(0), at(30), at(60)], at(-9999), until(60))

    assert result.too_late == timedelta()
    assert result.longest == 30 * MINUTE


def test_a_table_that_never_succeeded_is_late_since_it_was_set_up():
    result = freshness([], at(60), until(120))

    assert (result.observed, result.too_late, result.longest) == (60 * MINUTE, 30 * MINUTE, 60 * MINUTE)
    assert result.by_hour[:2] == (None, 60 * MINUTE)


def test_a_ledger_whose_older_rows_were_deleted_is_known_from_its_first_row_on_with_the_lag_it_tells():
    result = freshness([at(20), at(90)], at(60), until(100))

    assert result.observed == 40 * MINUTE
    assert result.longest == 70 * MINUTE


def test_a_stretch_marks_every_hour_that_it_touches():
    result = freshness([at(0)], at(-9999), until(150))

    assert result.by_hour == (60 * MINUTE, 120 * MINUTE, 150 * MINUTE, None, None, None)


@given(
    successes=st.sets(st.integers(-120, HOURS * 60), max_size=40),
    since=st.integers(-200, HOURS * 60),
    now=st.integers(1, HOURS * 60),
)
def test_it_equals_a_count_minute_by_minute(successes: set[int], since: int, now: int) -> None:
    result = freshness([at(minute) for minute in successes], at(since), until(now))

    known = range(max(0, since), now)
    zeros = successes if successes and min(successes) <= since else successes | {since}
    # Halfway through each minute, so that no bound is met exactly.
    lags = {minute: minute + 0.5 - max(zero for zero in zeros if zero <= minute) for minute in known}
    assert result.observed == len(known) * MINUTE
    assert result.late == sum(lag > 20 for lag in lags.values()) * MINUTE
    assert result.too_late == sum(lag > 30 for lag in lags.values()) * MINUTE
    assert result.longest / MINUTE == pytest.approx(max((lag + 0.5 for lag in lags.values()), default=0))
    for hour, longest in enumerate(result.by_hour):
        inside = [lag for minute, lag in lags.items() if minute // 60 == hour]
        assert (longest is None) == (not inside)
        assert longest is None or longest / MINUTE == pytest.approx(max(inside) + 0.5)


def test_the_bounds_are_the_settings():
    result = freshness([at(0)], at(-9999), until(10, LagMinutes(elevated=1, warning=2, critical=4)))

    assert (result.late, result.too_late) == (8 * MINUTE, 6 * MINUTE)
