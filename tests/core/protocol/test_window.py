"""Which rows one run moves: watermark, clock and buffer."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload_core.errors import FixConfiguration, WatermarkInvalid
from offload_core.protocol.window import (
    CLOCK_TOLERANCE,
    EARLIEST,
    EPOCH,
    MICROSECOND,
    ORIGIN,
    Cursor,
    Window,
    from_micros,
    plan_window,
    to_micros,
)

NOON = datetime(2026, 11, 19, 12, 0, tzinfo=timezone.utc)
BUFFER = timedelta(minutes=5)

zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(
    # What ClickHouse's DateTime64 can hold, a day short so that every zone can show it.
    min_value=datetime(1900, 1, 2),  # noqa: DTZ001 - the strategy adds the zone
    max_value=datetime(2299, 12, 30),  # noqa: DTZ001
    timezones=zones,
)
sequences = st.integers(0, 2**64 - 1)
cursors = st.builds(Cursor, moments, sequences)


class TestPlanning:
    def test_the_window_begins_at_the_watermark_and_ends_a_buffer_before_the_interval(self):
        watermark = Cursor(NOON - timedelta(minutes=20), 7)

        window = plan_window(watermark, NOON + timedelta(minutes=1), NOON, BUFFER)

        assert window == Window(watermark, NOON - BUFFER)

    def test_a_run_by_hand_goes_up_to_the_sources_clock(self):
        assert plan_window(ORIGIN, NOON, None, BUFFER).upper == NOON - BUFFER

    def test_a_run_before_its_intervals_end_goes_no_further_than_the_sources_clock(self):
        window = plan_window(ORIGIN, NOON, NOON + timedelta(hours=3), BUFFER)

        assert window.upper == NOON - BUFFER

    def test_clock_and_interval_may_be_in_any_zone(self):
        auckland, lima = timezone(timedelta(hours=13)), timezone(timedelta(hours=-5))

        window = plan_window(ORIGIN, NOON.astimezone(auckland), (NOON - timedelta(minutes=15)).astimezone(lima), BUFFER)

        assert window.upper == NOON - timedelta(minutes=20)
        assert window.upper.tzinfo is timezone.utc

    def test_an_interval_behind_the_watermark_is_said_to_be(self):
        window = plan_window(Cursor(NOON), NOON, NOON - timedelta(hours=1), BUFFER)

        assert window.is_behind

    def test_a_window_that_ends_at_the_watermarks_timestamp_may_still_hold_later_sequences(self):
        assert not Window(Cursor(NOON, 5), NOON).is_behind
        assert Window(Cursor(NOON, 5), NOON - MICROSECOND).is_behind

    def test_a_watermark_within_the_clocks_tolerance_is_believed(self):
        watermark = Cursor(NOON + CLOCK_TOLERANCE)

        assert plan_window(watermark, NOON, NOON, BUFFER).is_behind

    def test_a_watermark_in_the_future_is_refused_with_both_times(self):
        watermark = Cursor(NOON + CLOCK_TOLERANCE + MICROSECOND)

        with pytest.raises(WatermarkInvalid) as caught:
            plan_window(watermark, NOON, NOON, BUFFER)

        assert str(watermark) in str(caught.value)
        assert NOON.isoformat(sep=" ") in str(caught.value)
        assert "offload reset" in caught.value.remedy

    def test_a_watermark_before_all_time_that_clickhouse_knows_is_refused(self):
        assert plan_window(Cursor(EARLIEST), NOON, NOON, BUFFER).lower == Cursor(EARLIEST)

        with pytest.raises(WatermarkInvalid, match="before 1900-01-01") as caught:
            plan_window(Cursor(EARLIEST - MICROSECOND), NOON, NOON, BUFFER)

        assert "offload reset" in caught.value.remedy

    @pytest.mark.parametrize(
        ("clock", "end"),
        [(NOON.replace(tzinfo=None), NOON), (NOON, NOON.replace(tzinfo=None))],
    )
    def test_a_moment_without_zone_is_refused(self, clock, end):
        with pytest.raises(FixConfiguration, match="no time zone"):
            plan_window(ORIGIN, clock, end, BUFFER)

    @given(watermark=moments, clock=moments, end=st.none() | moments, minutes=st.integers(0, 1440))
    def test_no_window_reaches_into_the_buffer(self, watermark, clock, end, minutes):
        buffer = timedelta(minutes=minutes)
        try:
            window = plan_window(Cursor(watermark), clock, end, buffer)
        except WatermarkInvalid:
            assert watermark > clock
            return

        assert window.lower == Cursor(watermark)
        assert window.upper <= clock - buffer
        assert end is None or window.upper <= end - buffer
        assert window.upper in (clock - buffer, end and end - buffer)

    def test_a_window_shows_which_end_is_open(self):
        window = Window(Cursor(NOON, 3), NOON + timedelta(minutes=10))

        assert str(window) == "(2026-11-19 12:00:00+00:00 #3, 2026-11-19 12:10:00+00:00]"


class TestCursor:
    @given(one=cursors, other=cursors)
    def test_cursors_are_ordered_as_pairs(self, one, other):
        pairs = (one.timestamp, one.sequence), (other.timestamp, other.sequence)

        assert (one < other) == (pairs[0] < pairs[1])
        assert (one <= other) == (pairs[0] <= pairs[1])
        assert (one == other) == (pairs[0] == pairs[1])

    @given(timestamp=moments, one=sequences, other=sequences)
    def test_the_sequence_decides_between_equal_timestamps(self, timestamp, one, other):
        assert (Cursor(timestamp, one) < Cursor(timestamp, other)) == (one < other)

    @given(moment=moments, zone=zones)
    def test_the_same_moment_in_another_zone_is_the_same_cursor(self, moment, zone):
        assert Cursor(moment, 1) == Cursor(moment.astimezone(zone), 1)
        assert hash(Cursor(moment, 1)) == hash(Cursor(moment.astimezone(zone), 1))

    def test_without_a_sequence_it_is_the_first_of_its_timestamp(self):
        assert Cursor(NOON) == Cursor(NOON, 0)

    def test_a_timestamp_without_zone_is_refused(self):
        with pytest.raises(FixConfiguration, match=r"The watermark 2026-01-01T00:00:00 has no time zone\. Add one"):
            Cursor(datetime(2026, 1, 1))  # noqa: DTZ001

    def test_a_cursor_is_not_compared_with_anything_else(self):
        with pytest.raises(TypeError):
            assert Cursor(NOON) < NOON  # type: ignore[operator]

    def test_the_first_watermark_is_1970_and_sequence_0(self):
        assert Cursor(datetime(1970, 1, 1, tzinfo=timezone.utc), 0) == ORIGIN


class TestMicroseconds:
    @given(moments)
    def test_no_moment_loses_a_microsecond(self, moment):
        assert from_micros(to_micros(moment)) == moment

    @pytest.mark.parametrize(
        ("moment", "micros"),
        [
            (EPOCH, 0),
            (EPOCH - MICROSECOND, -1),
            (datetime(2026, 11, 19, 12, 0, 0, 123457, tzinfo=timezone.utc), 1_795_089_600_123_457),
            (datetime(2262, 4, 12, tzinfo=timezone.utc), 9_223_372_800_000_000),
        ],
    )
    def test_known_moments(self, moment, micros):
        assert to_micros(moment) == micros
