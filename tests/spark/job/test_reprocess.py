"""Runs over an interval that has been offloaded before repair it, restate it, or leave it alone."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from offload_core.config.tables import TableConfig
from offload_core.protocol.plan import RunMode
from offload_core.protocol.window import Cursor
from tests.support.spark.faults import assert_exact
from tests.support.spark.trades import HOUR, NOON, TRADES, create_trades, insert_minutes
from tests.support.spark.world import FinishedJob, World

CANDLES = TableConfig.model_validate(
    {
        "source": "candles",
        "target": "cold.candles",
        "layer": "gold",
        "timestamp_col": "window_start",
        "keys": ["symbol", "window_start"],
        "lookback_minutes": 0,
    }
)
ROWS = 6 * 60


@pytest.fixture
def trades(world: World) -> World:
    """Six hours of one trade a minute from noon on, offloaded."""
    create_trades(world)
    insert_minutes(world, NOON, ROWS, first_id=1)
    world.run_well(TRADES)
    return world


def rerun(world: World, mode: RunMode, start: datetime, end: datetime, table: TableConfig = TRADES) -> FinishedJob:
    return world.run(table, mode=mode, interval_start=start, interval_end=end)


def watermark(world: World, table: TableConfig = TRADES) -> Cursor:
    with world.ledger() as ledger:
        return ledger.cursor(table.name)


def newest(world: World) -> tuple[str, int]:
    row = world.history(TRADES)[0]
    return row.kind, row.row_count


class TestRepair:
    def test_an_old_run_of_the_schedule_inserts_what_came_late_and_only_in_its_own_interval(
        self, trades: World
    ) -> None:
        before = watermark(trades)
        insert_minutes(trades, NOON + timedelta(minutes=30, seconds=1), 3, first_id=1001)
        insert_minutes(trades, NOON + timedelta(hours=3, seconds=1), 3, first_id=2001)

        result = trades.run_well(
            TRADES, interval_start=NOON + timedelta(minutes=30), interval_end=NOON + timedelta(minutes=45)
        )

        assert "Rows repaired" in result.output
        assert newest(trades) == ("repair", 3)
        assert watermark(trades) == before
        assert trades.compare(TRADES).cold.rows == ROWS + 3
        assert rerun(trades, RunMode.REPAIR, NOON, NOON + 6 * HOUR).status == 0
        assert_exact(trades, TRADES, rows=ROWS + 6)

    def test_an_interval_that_is_right_already_is_left_alone(self, trades: World) -> None:
        rows = trades.history(TRADES)

        assert rerun(trades, RunMode.REPAIR, NOON, NOON + HOUR).status == 0

        assert trades.history(TRADES) == rows
        assert_exact(trades, TRADES, rows=ROWS)

    @pytest.mark.full
    def test_a_large_interval_is_repaired_in_chunks(self, trades: World) -> None:
        small = trades.with_settings(max_rows_per_commit=100)
        insert_minutes(small, NOON + timedelta(seconds=1), ROWS, first_id=1001)

        assert rerun(small, RunMode.REPAIR, NOON, NOON + 6 * HOUR).status == 0

        repairs = [row.row_count for row in small.history(TRADES) if row.kind == "repair"]
        assert len(repairs) == 8
        # The last trade lies past the watermark: it is not repaired but offloaded, and moves it.
        assert sum(repairs) == ROWS - 1
        assert_exact(small, TRADES, rows=2 * ROWS)

    @pytest.mark.full
    def test_an_interval_that_reaches_past_the_watermark_is_repaired_and_offloaded(self, trades: World) -> None:
        insert_minutes(trades, NOON + timedelta(seconds=1), 1, first_id=1001)
        insert_minutes(trades, NOON + 6 * HOUR, 10, first_id=2001)

        assert rerun(trades, RunMode.REPAIR, NOON, NOON + 6 * HOUR + timedelta(minutes=5)).status == 0

        assert watermark(trades) == Cursor(NOON + 6 * HOUR + timedelta(minutes=4), 2005)
        assert_exact(trades, TRADES, rows=ROWS + 6)

    def test_values_that_differ_are_reported_and_what_is_missing_is_inserted_all_the_same(self, trades: World) -> None:
        trades.hot.command("ALTER TABLE trades UPDATE price = 2 WHERE id <= 5 SETTINGS mutations_sync = 2")
        insert_minutes(trades, NOON + timedelta(seconds=1), 1, first_id=1001)

        result = rerun(trades, RunMode.REPAIR, NOON, NOON + HOUR)

        assert result.status == 20
        assert result.error["kind"] == "interval_differs"
        assert "5 rows with other values" in str(result.error["message"])
        assert "offload restate trades --from 2026-11-01T12:00:00+00:00" in str(result.error["message"])
        assert trades.compare(TRADES).cold.rows == ROWS + 1

    def test_rows_that_only_iceberg_holds_are_reported(self, trades: World) -> None:
        trades.hot.command("ALTER TABLE trades DELETE WHERE id IN (10, 11) SETTINGS mutations_sync = 2")

        result = rerun(trades, RunMode.REPAIR, NOON, NOON + HOUR)

        assert result.status == 20
        assert "2 rows more than ClickHouse" in str(result.error["message"])

    def test_a_job_killed_between_commit_and_ledger_leaves_the_watermark_where_it_was(self, trades: World) -> None:
        before = watermark(trades)
        insert_minutes(trades, NOON + timedelta(seconds=1), 4, first_id=1001)

        trades.run_armed(
            TRADES, "after-publish:kill", mode=RunMode.REPAIR, interval_start=NOON, interval_end=NOON + HOUR
        )
        trades.run_well(TRADES)

        assert "repair" in [row.kind for row in trades.history(TRADES)]
        assert watermark(trades) == before
        assert_exact(trades, TRADES, rows=ROWS + 4)


def test_the_next_attempt_of_a_run_that_died_before_the_ledger_only_repairs_the_ledger(trades: World) -> None:
    # The state after a scheduled run, which has read no further than its interval.
    trades.reset(TRADES, watermark(trades))
    insert_minutes(trades, NOON + 6 * HOUR, 10, first_id=2001)
    interval = {"interval_start": NOON + 6 * HOUR, "interval_end": NOON + 6 * HOUR + timedelta(minutes=14)}
    trades.run_armed(TRADES, "after-publish:kill", **interval)
    # If a source row were read again, it would be missing now.
    trades.hot.command("CREATE TABLE kept AS trades")
    trades.hot.command("INSERT INTO kept SELECT * FROM trades")
    trades.hot.command("TRUNCATE TABLE trades")

    result = trades.run_well(TRADES, attempt=2, **interval)

    assert "All of this run's window was in that commit" in result.output
    assert newest(trades) == ("recovered", 10)
    trades.hot.command("INSERT INTO trades SELECT * FROM kept")
    assert_exact(trades, TRADES, rows=ROWS + 10)


class TestRestate:
    def test_the_interval_is_replaced_at_once_and_nothing_around_it(self, trades: World) -> None:
        before = watermark(trades)
        trades.hot.command("ALTER TABLE trades UPDATE price = 2 WHERE id <= 90 SETTINGS mutations_sync = 2")
        trades.hot.command("ALTER TABLE trades DELETE WHERE id IN (10, 11) SETTINGS mutations_sync = 2")

        assert rerun(trades, RunMode.RESTATE, NOON, NOON + HOUR).status == 0

        assert newest(trades) == ("restate", 58)
        assert watermark(trades) == before
        still_old = rerun(trades, RunMode.REPAIR, NOON + HOUR, NOON + 2 * HOUR)
        assert "30 rows with other values" in str(still_old.error["message"])
        assert rerun(trades, RunMode.RESTATE, NOON + HOUR, NOON + 7 * HOUR).status == 0
        assert_exact(trades, TRADES, rows=ROWS - 2)

    @pytest.mark.parametrize("point", [pytest.param("after-branch-commit", marks=pytest.mark.full), "after-publish"])
    def test_a_job_that_is_killed_leaves_the_interval_old_or_new(self, trades: World, point: str) -> None:
        trades.hot.command("ALTER TABLE trades UPDATE price = 2 WHERE id <= 60 SETTINGS mutations_sync = 2")

        options = {"mode": RunMode.RESTATE, "interval_start": NOON, "interval_end": NOON + HOUR}
        trades.run_armed(TRADES, f"{point}:kill", **options)
        assert trades.compare(TRADES).cold.rows == ROWS
        trades.run_well(TRADES, **options)

        assert_exact(trades, TRADES, rows=ROWS)

    def test_what_ttl_has_taken_is_never_deleted(self, trades: World) -> None:
        trades.hot.command(
            "ALTER TABLE trades DELETE WHERE happened < '2026-11-01 12:30:00' SETTINGS mutations_sync = 2"
        )

        result = rerun(trades, RunMode.RESTATE, NOON, NOON + HOUR)

        assert result.status == 20
        assert result.error["kind"] == "interval_expired"
        assert rerun(trades, RunMode.RESTATE, NOON + timedelta(minutes=30), NOON + HOUR).status == 0

    def test_an_interval_of_which_clickhouse_holds_nothing_is_refused(self, trades: World) -> None:
        trades.hot.command("ALTER TABLE trades DELETE WHERE id BETWEEN 61 AND 120 SETTINGS mutations_sync = 2")

        assert rerun(trades, RunMode.RESTATE, NOON + HOUR, NOON + 2 * HOUR).error["kind"] == "interval_expired"


class TestCandles:
    @pytest.fixture
    def candles(self, world: World) -> World:
        """Six hours of one candle a minute, offloaded."""
        world.hot.command(
            "CREATE TABLE candles "
            "(symbol String, window_start DateTime('UTC'), window_end DateTime('UTC'), close Decimal(38, 8)) "
            "ENGINE = MergeTree ORDER BY window_start"
        )
        world.hot.command(
            f"INSERT INTO candles SELECT 'X', toDateTime('{NOON:%F %T}', 'UTC') + INTERVAL number MINUTE AS start, "
            f"start + INTERVAL 1 MINUTE, number FROM numbers({ROWS})"
        )
        world.init(CANDLES)
        world.run_well(CANDLES)
        return world

    def test_candles_that_changed_long_ago_are_brought_up_to_date(self, candles: World) -> None:
        candles.hot.command(
            "ALTER TABLE candles UPDATE close = -1 WHERE window_start < '2026-11-01 12:05:00' "
            "SETTINGS mutations_sync = 2"
        )
        candles.hot.command("INSERT INTO candles VALUES ('Y', '2026-11-01 12:01:00', '2026-11-01 12:02:00', 7)")

        candles.run_well(CANDLES, interval_start=NOON, interval_end=NOON + timedelta(minutes=15))

        row = candles.history(CANDLES)[0]
        assert (row.kind, row.row_count) == ("repair", 6)
        assert_exact(candles, CANDLES, rows=ROWS + 1)

    def test_an_interval_is_replaced(self, candles: World) -> None:
        candles.hot.command("ALTER TABLE candles UPDATE close = -1 WHERE 1 SETTINGS mutations_sync = 2")

        assert rerun(candles, RunMode.RESTATE, NOON, NOON + 7 * HOUR, CANDLES).status == 0

        assert_exact(candles, CANDLES, rows=ROWS)
