"""What one run has to do: ahead of the watermark, behind it, or nothing."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from offload_core.errors import FixConfiguration, WatermarkInvalid
from offload_core.protocol.plan import Progress, RunMode, RunPlan, plan_run
from offload_core.protocol.window import MICROSECOND, Cursor, Interval, Window

BUFFER = timedelta(minutes=5)
NOON = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
QUARTER = timedelta(minutes=15)
WATERMARK = Cursor(NOON - timedelta(minutes=6), 7)
PROGRESS = Progress(WATERMARK, NOON - BUFFER)
"""The run that ended at noon has read up to 11:55; its last row is from 11:54."""


def plan(
    mode: RunMode, start: datetime | None, end: datetime | None, progress: Progress = PROGRESS, now: datetime = NOON
) -> RunPlan:
    return plan_run(mode, start, end, progress, now + timedelta(minutes=20), BUFFER)


def test_the_next_run_of_the_schedule_moves_what_lies_ahead():
    assert plan(RunMode.OFFLOAD, NOON, NOON + QUARTER) == RunPlan(Window(WATERMARK, NOON + QUARTER - BUFFER), None)


def test_a_run_by_hand_goes_up_to_now():
    assert plan(RunMode.OFFLOAD, None, None) == RunPlan(Window(WATERMARK, NOON + timedelta(minutes=15)), None)


def test_the_run_that_was_last_is_looked_at_again_when_it_is_cleared_and_so_is_what_came_late_past_its_last_row():
    interval = Interval(NOON - QUARTER - BUFFER + MICROSECOND, NOON - BUFFER + MICROSECOND, by_close=True)
    assert plan(RunMode.OFFLOAD, NOON - QUARTER, NOON) == RunPlan(Window(WATERMARK, NOON - BUFFER), interval)


def test_two_neighbouring_runs_share_no_moment_and_leave_none_out():
    first, second = (Interval.of_run(NOON + n * QUARTER, NOON + (n + 1) * QUARTER, BUFFER) for n in range(2))
    assert first.end == second.start
    assert first.last == NOON + QUARTER - BUFFER


def test_after_a_reset_everything_past_the_new_watermark_lies_ahead():
    reset = Progress(Cursor(NOON - timedelta(hours=1)), None)
    assert plan(RunMode.OFFLOAD, NOON - QUARTER, NOON, reset) == RunPlan(Window(reset.watermark, NOON - BUFFER), None)


def test_a_run_whose_interval_ends_before_the_watermark_moves_nothing():
    end = NOON - 2 * QUARTER
    assert plan(RunMode.OFFLOAD, end - QUARTER, end) == RunPlan(None, Interval.of_run(end - QUARTER, end, BUFFER))


def test_an_old_run_without_a_start_has_nothing_to_look_at():
    assert plan(RunMode.OFFLOAD, None, NOON - QUARTER) == RunPlan(None, None)


@pytest.mark.parametrize("mode", [RunMode.REPAIR, RunMode.RESTATE, RunMode.VERIFY])
def test_a_named_interval_behind_the_watermark_is_taken_as_it_is(mode: RunMode):
    start, end = NOON - timedelta(hours=3), NOON - timedelta(hours=2)
    assert plan(mode, start, end) == RunPlan(None, Interval(start, end))


def test_repairing_an_interval_that_reaches_past_the_watermark_offloads_the_rest():
    start, end = NOON - timedelta(hours=1), NOON + timedelta(minutes=10)
    assert plan(RunMode.REPAIR, start, end) == RunPlan(
        Window(WATERMARK, end - MICROSECOND), Interval(start, NOON - BUFFER + MICROSECOND)
    )


def test_repairing_never_comes_closer_to_the_present_than_the_buffer():
    window = plan(RunMode.REPAIR, NOON, NOON + timedelta(days=1)).ahead
    assert window is not None
    assert window.upper == NOON + timedelta(minutes=15)


@pytest.mark.parametrize("mode", [RunMode.RESTATE, RunMode.VERIFY])
def test_only_what_has_been_offloaded_can_be_restated_or_verified(mode: RunMode):
    assert plan(mode, NOON - timedelta(hours=1), NOON + timedelta(hours=1)).behind == Interval(
        NOON - timedelta(hours=1), NOON - BUFFER + MICROSECOND
    )
    assert plan(mode, NOON, NOON + timedelta(hours=1)) == RunPlan(None, None)


@pytest.mark.parametrize("mode", [RunMode.REPAIR, RunMode.RESTATE, RunMode.VERIFY])
def test_these_modes_need_an_interval(mode: RunMode):
    with pytest.raises(FixConfiguration, match="Give both `from` and `to`"):
        plan(mode, NOON, None)


def test_an_interval_that_ends_before_it_starts_is_refused():
    with pytest.raises(FixConfiguration, match="Choose an end after the start"):
        plan(RunMode.REPAIR, NOON, NOON)


def test_a_watermark_in_the_future_is_refused_in_every_plan_that_moves_it():
    future = Progress(Cursor(NOON + timedelta(days=1)), None)
    with pytest.raises(WatermarkInvalid):
        plan(RunMode.OFFLOAD, NOON, NOON + QUARTER, future)
