"""How late a table was: the exact figures, and the same by looking at every minute."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload_core.config.lag import LagMinutes
from offload_ops.report.lag import freshness

START = datetime(2026, 2, 16, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
HOURS = 6
END = START + timedelta(hours=HOURS)
BOUNDS = LagMinutes()


def at(minutes: float) -> datetime:
    return START + minutes * MINUTE


def test_lag_grows_from_one_success_to_the_next():
    found = freshness([at(-10), at(5), at(50)], at(-9999), START, END, at(60), BOUNDS)

    assert found.longest == 45 * MINUTE
    assert found.late == 25 * MINUTE
    assert found.too_late == 15 * MINUTE
    assert found.observed == 60 * MINUTE
    assert found.by_hour == (45 * MINUTE, None, None, None, None, None)


def test_a_lag_that_began_before_the_period_counts_from_its_beginning_on():
    found = freshness([at(-100)], at(-9999), START, END, at(10), BOUNDS)

    assert (found.observed, found.late, found.too_late) == (10 * MINUTE, 10 * MINUTE, 10 * MINUTE)
    assert found.longest == 110 * MINUTE


def test_exactly_thirty_minutes_is_still_in_time():
    found = freshness([at(0), at(30), at(60)], at(-9999), START, END, at(60), BOUNDS)

    assert found.too_late == timedelta()
    assert found.longest == 30 * MINUTE


def test_a_table_that_never_succeeded_is_late_since_it_was_set_up():
    found = freshness([], at(60), START, END, at(120), BOUNDS)

    assert (found.observed, found.too_late, found.longest) == (60 * MINUTE, 30 * MINUTE, 60 * MINUTE)
    assert found.by_hour[:2] == (None, 60 * MINUTE)


def test_a_ledger_whose_older_rows_were_deleted_is_known_from_its_first_row_on_with_the_lag_it_tells():
    found = freshness([at(20), at(90)], at(60), START, END, at(100), BOUNDS)

    assert found.observed == 40 * MINUTE
    assert found.longest == 70 * MINUTE


def test_a_stretch_marks_every_hour_that_it_touches():
    found = freshness([at(0)], at(-9999), START, END, at(150), BOUNDS)

    assert found.by_hour == (60 * MINUTE, 120 * MINUTE, 150 * MINUTE, None, None, None)


@given(
    successes=st.sets(st.integers(-120, HOURS * 60), max_size=40),
    since=st.integers(-200, HOURS * 60),
    until=st.integers(1, HOURS * 60),
)
def test_it_is_what_a_look_at_every_minute_finds(successes: set[int], since: int, until: int) -> None:
    found = freshness([at(minute) for minute in successes], at(since), START, END, at(until), BOUNDS)

    known = range(max(0, since), until)
    zeros = successes if successes and min(successes) <= since else successes | {since}
    # Halfway through each minute, so that no bound is met exactly.
    lags = {minute: minute + 0.5 - max(zero for zero in zeros if zero <= minute) for minute in known}
    assert found.observed == len(known) * MINUTE
    assert found.late == sum(lag > 20 for lag in lags.values()) * MINUTE
    assert found.too_late == sum(lag > 30 for lag in lags.values()) * MINUTE
    assert found.longest / MINUTE == pytest.approx(max((lag + 0.5 for lag in lags.values()), default=0))
    for hour, longest in enumerate(found.by_hour):
        inside = [lag for minute, lag in lags.items() if minute // 60 == hour]
        assert (longest is None) == (not inside)
        assert longest is None or longest / MINUTE == pytest.approx(max(inside) + 0.5)


def test_the_bounds_are_the_settings():
    found = freshness([at(0)], at(-9999), START, END, at(10), LagMinutes(elevated=1, warning=2, critical=4))

    assert (found.late, found.too_late) == (8 * MINUTE, 6 * MINUTE)
