"""A run of an append table moves every new row once, and records the exact position of the last one."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest

from offload_core.protocol.window import ORIGIN, Cursor
from tests.support.spark.trades import NOON, TRADES, create_trades, insert_trades
from tests.support.spark.world import World


@pytest.fixture
def trades(world: World) -> World:
    """A world with one small, empty table."""
    create_trades(world)
    return world


def test_a_run_moves_what_is_new_and_records_the_last_row_it_moved(trades: World) -> None:
    insert_trades(trades, 1, (NOON, 1), (NOON + timedelta(seconds=1), 2))
    result = trades.run_well(TRADES)
    assert "Rows offloaded: 2" in result.output
    assert "Duration: " in result.output
    assert re.search(
        r"ATTEMPT table=trades run_id=\S+ attempt=1 outcome=success window_from=\S+ window_to=\S+ rows=2 ",
        result.output,
    )
    newest = trades.history(TRADES)[0]
    assert newest.kind == "increment"
    assert newest.cursor == Cursor(NOON + timedelta(seconds=1), 2)
    assert newest.row_count == newest.total_records == 2
    trades.require_equal(TRADES, rows=2)


def test_a_row_on_the_watermarks_own_timestamp_with_a_higher_sequence_is_not_lost(trades: World) -> None:
    insert_trades(trades, 1, (NOON, 1), (NOON, 2))
    trades.run_well(TRADES)
    insert_trades(trades, 3, (NOON, 3), (NOON + timedelta(microseconds=1), 1))
    trades.run_well(TRADES)
    trades.require_equal(TRADES, rows=4)


def test_rows_inside_the_buffer_wait_for_a_later_run(trades: World) -> None:
    insert_trades(trades, 1, (NOON, 1))
    recent = datetime.now(timezone.utc) - timedelta(minutes=2)
    insert_trades(trades, 2, (recent, 2))
    trades.run_well(TRADES)
    assert trades.history(TRADES)[0].cursor == Cursor(NOON, 1)
    trades.with_settings(buffer_minutes=1).run_well(TRADES)
    trades.require_equal(TRADES, rows=2)


def test_the_interval_caps_what_a_scheduled_run_moves(trades: World) -> None:
    insert_trades(
        trades, 1, (NOON, 1), (NOON + timedelta(minutes=10), 2), (NOON + timedelta(minutes=10, microseconds=1), 3)
    )
    trades.run_well(TRADES, interval_end=NOON + timedelta(minutes=15))
    trades.require_equal(TRADES, rows=2)


def test_an_interval_behind_the_watermark_changes_nothing(trades: World) -> None:
    insert_trades(trades, 1, (NOON, 1))
    trades.run_well(TRADES)
    before = trades.history(TRADES)
    result = trades.run_well(TRADES, interval_end=NOON - timedelta(hours=1))
    assert "Nothing to do" in result.output
    assert trades.history(TRADES) == before


def test_a_run_without_new_rows_succeeds_and_restarts_the_lag_clock(trades: World) -> None:
    insert_trades(trades, 1, (NOON, 1))
    trades.run_well(TRADES)
    success, cursor = trades.history(TRADES)[0].last_successful_run, trades.history(TRADES)[0].cursor
    result = trades.run_well(TRADES)
    assert "No new data to offload" in result.output
    newest = trades.history(TRADES)[0]
    assert (newest.kind, newest.cursor) == ("empty", cursor)
    assert newest.last_successful_run is not None
    assert success is not None
    assert newest.last_successful_run > success


def test_a_large_window_is_moved_in_chunks_each_with_its_own_ledger_row(trades: World) -> None:
    insert_trades(trades, 1, *[(NOON + timedelta(seconds=number // 3), number) for number in range(30)])
    trades.with_settings(max_rows_per_commit=7).run_well(TRADES)
    steps = [row for row in trades.history(TRADES) if row.kind == "increment"]
    assert sum(row.row_count for row in steps) == 30
    assert all(row.row_count <= 7 for row in steps)
    assert len(steps) >= 5
    trades.require_equal(TRADES, rows=30)


def test_rows_of_one_timestamp_stay_together_even_when_they_are_more_than_a_chunk(trades: World) -> None:
    insert_trades(trades, 1, *[(NOON, number) for number in range(20)], (NOON + timedelta(seconds=1), 1))
    trades.with_settings(max_rows_per_commit=5).run_well(TRADES)
    assert [row.row_count for row in trades.history(TRADES) if row.kind == "increment"] == [1, 20]
    trades.require_equal(TRADES, rows=21)


def test_windows_across_midnight_go_into_their_own_partitions_and_several_files(trades: World) -> None:
    midnight = datetime(2026, 11, 2, tzinfo=timezone.utc)
    rows = [(midnight + timedelta(microseconds=number), number + 50) for number in range(-20, 20)]
    insert_trades(trades, 1, *rows)
    trades.with_settings(rows_per_file=6).run_well(TRADES)
    data = trades.warehouse / "cold" / "trades" / "data"
    days = {path.parent.name: path for path in data.rglob("*.parquet")}
    assert set(days) == {"happened_day=2026-11-01", "happened_day=2026-11-02"}
    assert len(list(data.rglob("*.parquet"))) >= 6
    trades.require_equal(TRADES, rows=40)


def test_a_reset_to_epoch_and_a_run_leave_the_rows_as_they_were(trades: World) -> None:
    insert_trades(trades, 1, *[(NOON + timedelta(seconds=number), number) for number in range(50)])
    trades.run_well(TRADES)
    trades.offload(
        "reset", "trades", "--to", "epoch", "--yes", environ={"OFFLOAD_TABLES": f"[{TRADES.model_dump_json()}]"}
    )
    assert trades.history(TRADES)[0].cursor == ORIGIN
    trades.run_well(TRADES)
    assert trades.history(TRADES)[0].cursor == Cursor(NOON + timedelta(seconds=49), 49)
    trades.require_equal(TRADES, rows=50)


def test_a_reset_to_the_newest_rows_own_timestamp_doubles_nothing(trades: World) -> None:
    insert_trades(trades, 1, (NOON, 1), (NOON + timedelta(hours=1), 9))
    trades.run_well(TRADES)
    # A watermark typed by hand has no sequence number: the newest rows lie past it and are read again.
    trades.reset(TRADES, Cursor(NOON + timedelta(hours=1)))
    trades.run_well(TRADES)
    trades.require_equal(TRADES, rows=2)


def test_rows_that_came_late_arrive_once_after_a_reset(trades: World) -> None:
    insert_trades(trades, 1, (NOON, 1), (NOON + timedelta(hours=1), 9))
    trades.run_well(TRADES)
    insert_trades(trades, 3, (NOON + timedelta(minutes=1), 2), (NOON + timedelta(minutes=2), 3))
    assert not trades.compare(TRADES).equal
    trades.reset(TRADES, Cursor(NOON))
    result = trades.run_well(TRADES)
    assert "Rows offloaded: 2" in result.output
    trades.require_equal(TRADES, rows=4)


def test_a_row_that_arrives_between_counting_and_fetching_is_moved_and_recorded(trades: World) -> None:
    insert_trades(trades, 1, (NOON, 1), (NOON + timedelta(seconds=1), 2))
    with trades.paused(TRADES, "before-read") as job:
        insert_trades(trades, 3, (NOON + timedelta(seconds=2), 3))
    ended = trades.finish(job)
    assert ended.status == 0, ended.output
    newest = trades.history(TRADES)[0]
    assert (newest.row_count, newest.cursor) == (3, Cursor(NOON + timedelta(seconds=2), 3))
    trades.require_equal(TRADES, rows=3)


def test_rows_that_are_gone_when_they_are_fetched_leave_an_empty_step(trades: World) -> None:
    insert_trades(trades, 1, (NOON, 1))
    with trades.paused(TRADES, "before-read") as job:
        trades.hot.command("TRUNCATE TABLE trades")
    ended = trades.finish(job)
    assert ended.status == 0, ended.output
    assert "gone" in ended.output
    assert trades.history(TRADES)[0].snapshot_id is None


def test_a_branch_that_vanishes_before_its_audit_never_moves_the_watermark(trades: World) -> None:
    insert_trades(trades, 1, (NOON, 1))
    trades.run_well(TRADES)
    insert_trades(trades, 2, (NOON + timedelta(seconds=1), 2))
    script = trades.folder / "drop_branches.py"
    script.write_text(
        "import os\n"
        "from offload_core.config.connections import load_connections\n"
        "from offload_spark.runtime.session import start_session\n"
        "session = start_session(load_connections(os.environ).iceberg)\n"
        "for row in session.table('demo.cold.trades.refs').where(\"type = 'BRANCH' AND name <> 'main'\").collect():\n"
        "    session.sql(f'ALTER TABLE demo.cold.trades DROP BRANCH `{row.name}`')\n"
    )
    with trades.paused(TRADES, "after-branch-commit") as job:
        dropped = trades.finish(trades.submit(str(script), []))
        assert dropped.status == 0, dropped.output
    ended = trades.finish(job)
    assert ended.status == 10, ended.output
    assert trades.history(TRADES)[0].cursor == Cursor(NOON, 1)
    trades.run_well(TRADES)
    trades.require_equal(TRADES, rows=2)
