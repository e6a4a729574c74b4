"""Candles arrive when they are closed, late changes are caught up, and candles that ClickHouse has dropped stay."""

from __future__ import annotations

from datetime import timedelta

import pytest

from offload_core.protocol.window import Cursor
from tests.support.spark.candles import (
    DAY,
    FINALIZED,
    create_candles,
    delete_candles_before,
    insert_candles,
    volumes,
)
from tests.support.spark.world import World


@pytest.fixture
def candles(world: World) -> World:
    """A world with hourly candles of two symbols, 24 hours of one day."""
    create_candles(world)
    return world


def test_only_closed_candles_are_offloaded(candles: World) -> None:
    candles.run_well(FINALIZED, interval_end=DAY + timedelta(hours=5, minutes=4))
    assert len(volumes(candles)) == 2 * 4, (
        "the fifth closes at 05:00, four minutes before the interval's end: inside the buffer"
    )
    candles.run_well(FINALIZED, interval_end=DAY + timedelta(hours=5, minutes=5))
    assert len(volumes(candles)) == 2 * 5


def test_candles_that_changed_within_the_lookback_are_brought_up_to_date(candles: World) -> None:
    candles.run_well(FINALIZED, interval_end=DAY + timedelta(hours=6))
    insert_candles(candles, DAY + timedelta(hours=4), hours=1, volume="9", version=2)
    candles.run_well(FINALIZED, interval_end=DAY + timedelta(hours=8))
    found = volumes(candles)
    assert found["A", DAY + timedelta(hours=4)] == "9"
    assert found["B", DAY + timedelta(hours=3)] == "1.5"
    candles.require_equal(FINALIZED)


def test_candles_that_ttl_has_taken_stay_in_iceberg(candles: World) -> None:
    candles.run_well(FINALIZED, interval_end=DAY + timedelta(hours=10))
    before = volumes(candles)
    delete_candles_before(candles, DAY + timedelta(hours=5))
    insert_candles(candles, DAY + timedelta(hours=8), hours=1, volume="7", version=2)
    result = candles.run_well(FINALIZED, interval_end=DAY + timedelta(hours=12))
    assert "merging by key" in result.output
    found = volumes(candles)
    assert len(found) == len(before) + 2 * 2
    assert found["A", DAY] == "1.5"
    assert found["A", DAY + timedelta(hours=8)] == "7"


def test_candles_beyond_the_lookback_leave_the_day_before_as_it_is(candles: World) -> None:
    candles.run_well(FINALIZED, interval_end=DAY + timedelta(hours=26))
    data = candles.warehouse / "cold" / "candles" / "data" / "window_start_day=2026-11-10"
    before = set(data.iterdir())
    insert_candles(candles, DAY + timedelta(hours=26), hours=4)
    candles.run_well(FINALIZED)
    assert set(data.iterdir()) == before
    candles.require_equal(FINALIZED, rows=2 * 28)


@pytest.mark.parametrize("lost_hours", [0, 5])
def test_a_reset_and_a_run_change_nothing(candles: World, lost_hours: int) -> None:
    candles.run_well(FINALIZED)
    before = volumes(candles)
    if lost_hours:
        delete_candles_before(candles, DAY + timedelta(hours=lost_hours))
    candles.reset(FINALIZED, Cursor(DAY + timedelta(hours=2)))
    candles.run_well(FINALIZED)
    assert volumes(candles) == before


def test_a_large_window_of_candles_is_cut_between_partitions(candles: World) -> None:
    insert_candles(candles, DAY + timedelta(hours=24), hours=48)
    candles.with_settings(max_rows_per_commit=60).run_well(FINALIZED)
    steps = [row for row in candles.history(FINALIZED) if row.kind == "increment"]
    assert [row.row_count for row in steps] == [48, 48, 48]
    candles.require_equal(FINALIZED, rows=2 * 72)
