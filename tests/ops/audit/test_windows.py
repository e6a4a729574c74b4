"""The windows that an audit compares."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload_core.config.settings import Settings
from offload_core.config.tables import DEFAULT_TABLES
from offload_core.errors import FixConfiguration
from offload_core.protocol.window import EPOCH, MICROSECOND, Cursor, Interval
from offload_ops.audit.windows import Grain, Grid, recent_span, window_grid

TRADES = DEFAULT_TABLES[0]
CANDLES = DEFAULT_TABLES[-1]
NOON = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def test_four_scheduled_runs_lie_within_one_hour_of_an_append_table() -> None:
    hours = window_grid(TRADES, Settings(), Grain.HOUR)

    (window,) = hours.windows(Interval(NOON, NOON + 30 * MINUTE))

    runs = [
        Interval.of_run(NOON + number * 15 * MINUTE, NOON + (number + 1) * 15 * MINUTE, 5 * MINUTE)
        for number in range(4)
    ]
    assert (runs[0].start, runs[-1].end) == (window.start, window.end)


@pytest.mark.parametrize(("table", "grain"), [(CANDLES, Grain.HOUR), (TRADES, Grain.DAY), (TRADES, Grain.MINUTE)])
def test_windows_of_candles_and_days_and_minutes_follow_the_clock(table, grain) -> None:  # type: ignore[no-untyped-def]
    window = window_grid(table, Settings(), grain).windows(Interval(NOON, NOON + MICROSECOND))[0]

    assert window.end - window.start == grain.width
    assert window.start.second == window.start.microsecond == 0
    assert window.start <= NOON < window.end


def test_the_last_hours_end_with_the_one_that_holds_the_watermark() -> None:
    hours = window_grid(TRADES, Settings(), Grain.HOUR)

    span = recent_span(Cursor(NOON + 20 * MINUTE, 7), 6, hours)

    assert len(hours.windows(span)) == 7
    assert span.start == NOON - 6 * HOUR - 5 * MINUTE + MICROSECOND
    assert span.start < NOON + 20 * MINUTE < span.end


def test_too_many_windows_are_refused() -> None:
    with pytest.raises(FixConfiguration, match="wider windows"):
        window_grid(TRADES, Settings(), Grain.MINUTE).windows(Interval(NOON, NOON + timedelta(days=30)))


@given(st.integers(-(10**15), 4 * 10**15), st.integers(1, 10**10), st.integers(0, 10**8))
def test_windows_are_adjacent_and_cover_the_span(start: int, length: int, shift: int) -> None:
    grid = Grid(HOUR, EPOCH + timedelta(microseconds=shift))
    span = Interval(EPOCH + timedelta(microseconds=start), EPOCH + timedelta(microseconds=start + length))

    windows = grid.windows(span)

    assert windows[0].start <= span.start < windows[0].end
    assert windows[-1].start <= span.last < windows[-1].end
    assert all(one.end == other.start for one, other in pairwise(windows))
    assert grid.round_out(span) == Interval(windows[0].start, windows[-1].end)
