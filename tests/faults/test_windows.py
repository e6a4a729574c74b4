"""Borders between windows, clocks that disagree, and a thousand windows without a row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest

from offload_core.config.connections import Connections
from offload_core.config.tables import TableConfig
from offload_core.ledger.rows import LedgerRow, Step
from offload_core.protocol.window import MICROSECOND, Cursor, Window
from offload_core.source.queries import NOW, parse_time
from tests.support.spark.fault_tables import BUFFER, NOON, prepared
from tests.support.spark.faults import assert_exact, visible_rows
from tests.support.spark.operated_table import OperatedTrades

TEN_MINUTES = timedelta(minutes=10)


@pytest.fixture(scope="module")
def trades(
    request: pytest.FixtureRequest, servers: Connections, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatedTrades]:
    """A table for every test here."""
    with prepared(OperatedTrades, request, servers, tmp_path_factory) as tables:
        yield tables


def insert_at(trades: OperatedTrades, table: TableConfig, moment: datetime, *numbers: int) -> None:
    """Insert trades of one moment; each number is its id and sequence number."""
    values = ", ".join(f"({number}, '{moment:%F %H:%M:%S.%f}', {number}, 1)" for number in numbers)
    trades.world.hot.command(f"INSERT INTO {table.source} VALUES {values}")


def source_now(trades: OperatedTrades) -> datetime:
    """ClickHouse's clock."""
    return parse_time(trades.world.hot.rows(NOW)[0]["now"])


def test_trades_that_share_the_last_timestamp_of_several_windows_arrive_once(trades: OperatedTrades) -> None:
    world, table = trades.world, trades.take(0)
    insert_at(trades, table, NOON, 1, 2)
    insert_at(trades, table, NOON + MICROSECOND, 9)
    world.run_well(table, interval_end=NOON + BUFFER)
    assert_exact(world, table, rows=2)
    insert_at(trades, table, NOON, 3, 4)
    world.run_well(table, interval_end=NOON + MICROSECOND + BUFFER)
    assert_exact(world, table, rows=5)
    insert_at(trades, table, NOON + MICROSECOND, 10, 11)
    world.run_well(table)
    assert_exact(world, table, rows=7)
    assert [row.row_count for row in trades.valid_history(table)] == [0, 2, 3, 2]


def start_again(trades: OperatedTrades, table: TableConfig) -> Cursor:
    """Insert five trades of a minute past noon whose numbers begin at zero; returns the position of the last one."""
    later = NOON + timedelta(minutes=1)
    trades.world.hot.command(
        f"INSERT INTO {table.source} "
        f"SELECT 100 + number, toDateTime64('{later:%F %T}', 6, 'UTC') + number, number, 1 FROM numbers(5)"
    )
    return Cursor(later + timedelta(seconds=4), 4)


def test_numbers_that_start_again_from_zero_lose_nothing_because_time_orders_first(trades: OperatedTrades) -> None:
    table = trades.take(10)
    trades.world.run_well(table)
    last = start_again(trades, table)
    trades.world.run_well(table)
    assert trades.valid_history(table)[-1].cursor == last
    assert_exact(trades.world, table, rows=15)


def test_numbers_that_start_again_within_a_window_end_it_at_its_last_row_not_at_its_highest_number(
    trades: OperatedTrades,
) -> None:
    table = trades.take(10)
    last = start_again(trades, table)
    trades.world.run_well(table)
    assert trades.valid_history(table)[-1].cursor == last
    # On the last row's timestamp, with a number that is higher than the last but not than the highest.
    trades.world.hot.command(f"INSERT INTO {table.source} VALUES (105, '{last.timestamp:%F %T}', 7, 1)")
    trades.world.run_well(table)
    assert_exact(trades.world, table, rows=16)


def test_a_scheduler_whose_clock_is_ten_minutes_ahead_moves_nothing_from_inside_the_buffer(
    trades: OperatedTrades,
) -> None:
    world, table = trades.world, trades.take(0)
    now = source_now(trades)
    insert_at(trades, table, now - TEN_MINUTES, 1)
    insert_at(trades, table, now - timedelta(minutes=2), 2)
    insert_at(trades, table, now + TEN_MINUTES, 3)
    world.run_well(table, interval_end=now + TEN_MINUTES)
    newest = world.history(table)[0]
    assert newest.window_upper is not None
    assert newest.window_upper <= source_now(trades) - BUFFER
    assert_exact(world, table, rows=1)
    world.with_settings(buffer_minutes=1).run_well(table)
    assert_exact(world, table, rows=2)


def test_a_scheduler_whose_clock_is_ten_minutes_behind_leaves_the_newest_rows_to_the_next_run(
    trades: OperatedTrades,
) -> None:
    world, table = trades.world, trades.take(0)
    now = source_now(trades)
    insert_at(trades, table, now - TEN_MINUTES - BUFFER - timedelta(seconds=1), 1)
    insert_at(trades, table, now - TEN_MINUTES, 2)
    world.run_well(table, interval_end=now - TEN_MINUTES)
    assert_exact(world, table, rows=1)
    world.run_well(table, interval_end=now)
    assert_exact(world, table, rows=2)


@pytest.mark.full
def test_a_clickhouse_whose_clock_was_set_back_ten_minutes_waits_until_it_has_caught_up(
    trades: OperatedTrades,
) -> None:
    world, table = trades.world, trades.take(10)
    ahead = Cursor(source_now(trades) + TEN_MINUTES, 5)
    world.run_well(table)
    world.reset(table, ahead)
    world.run_well(table)
    assert world.history(table)[0].kind == "reset"
    assert visible_rows(world, table) == 10


def test_after_a_thousand_empty_windows_the_next_rows_arrive_once(trades: OperatedTrades) -> None:
    world, table = trades.world, trades.take(10)
    world.run_well(table)
    (_, first) = trades.valid_history(table)
    with world.ledger() as ledger:
        row = first
        for number in range(1, 1001):
            with ledger.locked(table.name, wait_seconds=0):
                row = ledger.append(ledger.watermark(table.name), empty(row, NOON + number * timedelta(minutes=15)))
    files = set(world.warehouse.rglob("*"))
    world.run_well(table)
    assert set(world.warehouse.rglob("*")) == files, "the job's own empty window commits nothing, not even a branch"
    with world.ledger() as ledger:
        rows = ledger.history(table.name, 2000)[-2::-1]
    assert [row.kind for row in rows] == ["increment", *["empty"] * 1001]
    assert {row.cursor for row in rows} == {first.cursor}
    assert [row.started_from for row in rows[1:]] == [row.id for row in rows[:-1]]
    clock = [row.last_successful_run for row in rows]
    assert all(earlier < later for earlier, later in pairwise(clock) if earlier and later)
    trades.insert(table, 950_000, 5)
    world.run_well(table)
    assert_exact(world, table, rows=15)
    # The watermark has not passed these late rows of a time in which the windows were empty.
    trades.insert(table, 950_005, 5)
    world.run_well(table)
    assert_exact(world, table, rows=20)


def empty(row: LedgerRow, upper: datetime) -> Step:
    """The step that the sensor records for a window without rows."""
    return Step.empty(
        row,
        Window(row.cursor, upper),
        source_uuid=row.source_uuid,
        run_id=f"scheduled__{upper.astimezone(timezone.utc):%FT%T}",
        attempt=1,
    )
