"""How moments, durations and numbers are shown."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from offload_ops.text import (
    ago,
    byte_size,
    clock,
    clock_seconds,
    count,
    duration,
    duration_in_words,
    name_list,
    percent,
    percent_change,
    rough_duration,
    time_of_day,
)

MOMENT = datetime(2026, 7, 20, 10, 5, 59, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100 %", percent(1.0)),
        ("99.99 %", percent(0.99999999)),
        ("99.85 %", percent(667 / 668)),
        ("95 %", percent(0.95)),
        ("0 %", percent(0.0)),
        ("n/a", percent(None)),
        ("+5 %", percent_change(105, 100)),
        ("-100 %", percent_change(0, 100)),
        ("n/a", percent_change(5, 0)),
        ("0 s", duration(timedelta())),
        ("under 1 s", duration(timedelta(milliseconds=5))),
        ("59 s", duration(timedelta(seconds=59.9))),
        ("1 min", duration(timedelta(seconds=60))),
        ("2 h 10 min", duration(timedelta(minutes=130, seconds=5))),
        ("8 d 1 h", duration(timedelta(days=8, hours=1))),
        ("1.5 minutes", duration_in_words(timedelta(seconds=90))),
        ("an hour", duration_in_words(timedelta(hours=1))),
        ("90 minutes", duration_in_words(timedelta(minutes=90))),
        ("2 hours", duration_in_words(timedelta(hours=2))),
        ("1 KiB", byte_size(1024)),
        ("1.5 GiB", byte_size(3 << 29)),
        ("0 B", byte_size(0)),
        ("a, b, c, d", name_list(["a", "b", "c", "d"])),
        ("a, b, c and 2 others", name_list(["a", "b", "c", "d", "e"])),
    ],
)
def test_figures_are_written_as_people_read_them_and_never_better_than_they_are(text, value):
    assert value == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-07-20 10:05", clock(MOMENT)),
        ("2026-07-20 10:05:59", clock_seconds(MOMENT)),
        ("10:05", time_of_day(MOMENT)),
        ("59 s", rough_duration(timedelta(seconds=59.9))),
        ("2 min", rough_duration(timedelta(seconds=179))),
        ("2 d 23 h", rough_duration(timedelta(hours=71, minutes=59))),
        ("3 d", rough_duration(timedelta(hours=95))),
        ("5 min ago", ago(timedelta(minutes=5, seconds=30))),
        ("in 2 h", ago(-timedelta(hours=2))),
        ("1 row", count(1, "row")),
        ("2,000 rows", count(2000, "row")),
    ],
)
def test_moments_and_rough_durations_leave_out_what_is_too_fine(text, value):
    assert value == text
