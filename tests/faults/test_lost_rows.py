"""Rows vanish from Iceberg or ClickHouse: their table halts and says how many and where; other tables continue."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from offload_core.config.tables import TableConfig
from tests.support.spark.faults import assert_exact
from tests.support.spark.foreign_writer import ForeignWriter
from tests.support.spark.operated_table import OperatedTrades

MIDNIGHT = 12 * 3600
"""Number of the first trade of the second day."""


def two_days(shared: OperatedTrades, rows: int = 500) -> TableConfig:
    """A table with equally many rows of 1 and of 2 November, all of them offloaded."""
    table = shared.take(0)
    shared.insert(table, MIDNIGHT - rows, 2 * rows)
    shared.world.run_well(table)
    return table


def test_a_deleted_partition_halts_its_table_and_no_other(shared: OperatedTrades, foreign: ForeignWriter) -> None:
    table, other = two_days(shared), shared.take(10)
    snapshot = foreign.newest_snapshot(table)
    foreign.sql(f"DELETE FROM {foreign.name(table)} WHERE happened < TIMESTAMP '2026-11-02'")
    message = shared.require_halted(table, "cold_rows_lost")
    assert f"lost 500 rows since our last commit (1000 rows in snapshot {snapshot}, 500 now)" in message
    assert "2026-11-01 lost 500 rows" in message
    assert "2026-11-02" not in message
    shared.world.run_well(other)
    assert_exact(shared.world, other, rows=10)
    foreign.call("rollback_to_snapshot", table, f"snapshot_id => {snapshot}")
    shared.operate("resume", table, "--yes")
    shared.insert(table, MIDNIGHT + 500, 5)
    shared.world.run_well(table)
    assert_exact(shared.world, table, rows=1005)


@pytest.mark.full
def test_rows_deleted_in_the_middle_of_partitions_are_counted_by_partition(
    shared: OperatedTrades, foreign: ForeignWriter
) -> None:
    table = two_days(shared)
    foreign.sql(f"DELETE FROM {foreign.name(table)} WHERE number % 100 = 7")
    message = shared.require_halted(table, "cold_rows_lost")
    assert "lost 10 rows since" in message
    assert "2026-11-01 lost 5 rows, 2026-11-02 lost 5 rows" in message
    # After a diagnosis, a reset brings back what ClickHouse still holds.
    shared.operate("reset", table, "--to", "epoch", "--yes")
    shared.operate("resume", table, "--yes")
    shared.world.run_well(table)
    assert_exact(shared.world, table, rows=1000)


@pytest.mark.full
def test_rows_hidden_by_delete_files_are_lost_too(shared: OperatedTrades, foreign: ForeignWriter) -> None:
    table = two_days(shared)
    foreign.sql(f"ALTER TABLE {foreign.name(table)} SET TBLPROPERTIES ('write.delete.mode'='merge-on-read')")
    foreign.sql(f"DELETE FROM {foreign.name(table)} WHERE number % 100 = 7")
    assert "2026-11-01 lost 5 rows, 2026-11-02 lost 5 rows" in shared.require_halted(table, "cold_rows_lost")


@pytest.mark.full
def test_rows_that_others_append_do_not_hide_those_that_are_gone(
    shared: OperatedTrades, foreign: ForeignWriter
) -> None:
    table = two_days(shared)
    foreign.append_history(table, 2000)
    foreign.sql(f"DELETE FROM {foreign.name(table)} WHERE happened >= TIMESTAMP '2026-11-02'")
    message = shared.require_halted(table, "cold_rows_lost")
    assert "(1000 rows in snapshot" in message
    assert "2500 now)" in message
    assert message.count("lost") == 2
    assert "2026-11-02 lost 500 rows" in message


@pytest.mark.full
def test_rows_that_others_delete_of_their_own_are_no_loss(shared: OperatedTrades, foreign: ForeignWriter) -> None:
    table = two_days(shared)
    foreign.append_history(table, 2000)
    foreign.sql(f"DELETE FROM {foreign.name(table)} WHERE happened < TIMESTAMP '2020-06-01' AND number > 1")
    shared.insert(table, MIDNIGHT + 500, 5)
    shared.world.run_well(table)
    assert_exact(shared.world, table, rows=1005)


def test_rows_that_ttl_took_before_they_were_offloaded_halt_the_table_with_interval_and_estimate(
    shared: OperatedTrades,
) -> None:
    world, table = shared.world, shared.take(0)
    now = datetime.now(timezone.utc).replace(microsecond=0)
    world.hot.command(f"ALTER TABLE {table.source} MODIFY TTL toDateTime(happened) + INTERVAL 1 DAY")
    world.hot.command(f"SYSTEM STOP TTL MERGES {table.source}")
    old, new = now - timedelta(days=3), now - timedelta(minutes=10)
    world.hot.command(
        f"INSERT INTO {table.source} "
        f"SELECT number, toDateTime64('{old:%F %T}', 6, 'UTC') - number, number, 1 FROM numbers(60)"
    )
    world.run_well(table, interval_end=old + timedelta(minutes=5))
    world.hot.command(f"INSERT INTO {table.source} VALUES (100, '{new:%F %T}', 100, 1)")
    world.hot.command(f"ALTER TABLE {table.source} DELETE WHERE id < 100 SETTINGS mutations_sync = 2")
    message = shared.require_halted(table, "hot_rows_expired")
    assert f"between {old.isoformat(sep=' ')} and {new.isoformat(sep=' ')}" in message
    assert "rows at the usual rate" in message
    shared.operate("resume", table, "--yes")
    world.run_well(table)
    assert_exact(world, table, rows=1)
