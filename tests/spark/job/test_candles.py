"""Candles: closed ones only, late changes caught up, and nothing lost that ClickHouse has already dropped."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from offload_core.config.tables import TableConfig
from offload_core.protocol.window import Cursor
from offload_ops.tiers.cold_table import open_cold_table
from tests.support.spark.world import World

CANDLES = TableConfig.model_validate(
    {
        "source": "candles",
        "target": "cold.candles",
        "layer": "gold",
        "timestamp_col": "window_start",
        "keys": ["symbol", "window_start"],
        "lookback_minutes": 60,
    }
)
DAY = datetime(2026, 11, 10, tzinfo=timezone.utc)


@pytest.fixture
def candles(world: World) -> World:
    """A world with hourly candles of two symbols, 24 hours of one day."""
    world.hot.command(
        "CREATE TABLE candles (symbol String, window_start DateTime('UTC'), window_end DateTime('UTC'), "
        "volume Decimal(38, 8), version UInt8) ENGINE = ReplacingMergeTree(version) ORDER BY (symbol, window_start)"
    )
    world.hot.command("CREATE VIEW finalized AS SELECT * EXCEPT version FROM candles FINAL")
    insert(world, DAY, hours=24)
    world.init(FINALIZED)
    return world


FINALIZED = CANDLES.model_copy(update={"source": "finalized"})


def insert(world: World, start: datetime, hours: int, volume: str = "1.5", version: int = 1) -> None:
    """Insert hourly candles of both symbols."""
    world.hot.command(
        f"INSERT INTO candles SELECT symbol, toDateTime('{start:%Y-%m-%d %H:%M:%S}', 'UTC') + number * 3600 AS start, "
        f"start + 3600, {volume}, {version} "
        f"FROM (SELECT number FROM numbers({hours})) n CROSS JOIN (SELECT arrayJoin(['A', 'B']) AS symbol) s"
    )


def volumes(world: World) -> dict[tuple[str, datetime], str]:
    """What Iceberg holds: volume by symbol and start."""
    rows = open_cold_table(world.connections.iceberg, FINALIZED.target).scan().to_arrow().to_pylist()
    found = {(row["symbol"], row["window_start"]): str(row["volume"].normalize()) for row in rows}
    assert len(found) == len(rows), "a candle is there twice"
    return found


def test_only_closed_candles_are_offloaded(candles: World) -> None:
    candles.run_well(FINALIZED, interval_end=DAY + timedelta(hours=5, minutes=4))
    assert len(volumes(candles)) == 2 * 4, (
        "the fifth closes at 05:00, four minutes before the interval's end: inside the buffer"
    )
    candles.run_well(FINALIZED, interval_end=DAY + timedelta(hours=5, minutes=5))
    assert len(volumes(candles)) == 2 * 5


def test_candles_that_changed_within_the_lookback_are_brought_up_to_date(candles: World) -> None:
    candles.run_well(FINALIZED, interval_end=DAY + timedelta(hours=6))
    insert(candles, DAY + timedelta(hours=4), hours=1, volume="9", version=2)
    candles.run_well(FINALIZED, interval_end=DAY + timedelta(hours=8))
    found = volumes(candles)
    assert found["A", DAY + timedelta(hours=4)] == "9"
    assert found["B", DAY + timedelta(hours=3)] == "1.5"
    candles.require_equal(FINALIZED)


def test_candles_that_ttl_has_taken_stay_in_iceberg(candles: World) -> None:
    candles.run_well(FINALIZED, interval_end=DAY + timedelta(hours=10))
    before = volumes(candles)
    candles.hot.command(
        f"ALTER TABLE candles DELETE WHERE window_start < '{DAY + timedelta(hours=5):%Y-%m-%d %H:%M:%S}' SETTINGS mutations_sync = 2"
    )
    insert(candles, DAY + timedelta(hours=8), hours=1, volume="7", version=2)
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
    insert(candles, DAY + timedelta(hours=26), hours=4)
    candles.run_well(FINALIZED)
    assert set(data.iterdir()) == before
    candles.require_equal(FINALIZED, rows=2 * 28)


@pytest.mark.parametrize("lost_hours", [0, 5])
def test_a_reset_and_a_run_change_nothing(candles: World, lost_hours: int) -> None:
    candles.run_well(FINALIZED)
    before = volumes(candles)
    if lost_hours:
        until = DAY + timedelta(hours=lost_hours)
        candles.hot.command(
            f"ALTER TABLE candles DELETE WHERE window_start < '{until:%Y-%m-%d %H:%M:%S}' SETTINGS mutations_sync = 2"
        )
    candles.reset(FINALIZED, Cursor(DAY + timedelta(hours=2)))
    candles.run_well(FINALIZED)
    assert volumes(candles) == before


def test_a_large_window_of_candles_is_cut_between_partitions(candles: World) -> None:
    insert(candles, DAY + timedelta(hours=24), hours=48)
    candles.with_settings(max_rows_per_commit=60).run_well(FINALIZED)
    steps = [row for row in candles.history(FINALIZED) if row.kind == "increment"]
    assert [row.row_count for row in steps] == [48, 48, 48]
    candles.require_equal(FINALIZED, rows=2 * 72)
