"""Source or target is no longer the same table: it was rolled back, dropped, restored or created again."""

from __future__ import annotations

import pytest

from tests.support.spark.fault_tables import NOON
from tests.support.spark.faults import assert_exact, visible_rows
from tests.support.spark.foreign_writer import ForeignWriter
from tests.support.spark.operated_table import OperatedTrades


def test_a_rolled_back_table_is_halted_and_goes_on_after_reset_and_resume(
    shared: OperatedTrades, foreign: ForeignWriter
) -> None:
    table = shared.take(10)
    shared.world.run_well(table)
    first = foreign.newest_snapshot(table)
    shared.offload(table, 5)
    foreign.call("rollback_to_snapshot", table, f"snapshot_id => {first}")
    shared.insert(table, 15, 5)
    message = shared.require_halted(table, "ledger_ahead")
    assert "rolled back" in message
    assert "(5 rows up to " in message
    assert visible_rows(shared.world, table) == 10
    shared.operate("reset", table, "--to", NOON.isoformat(), "--yes")
    shared.operate("resume", table, "--yes")
    shared.world.run_well(table)
    assert_exact(shared.world, table, rows=20)


def test_a_dropped_table_is_an_error_and_halted_once_it_is_made_again(
    shared: OperatedTrades, foreign: ForeignWriter
) -> None:
    table = shared.take(10)
    shared.world.run_well(table)
    foreign.sql(f"DROP TABLE {foreign.name(table)}")
    assert "`offload init`" in shared.require_error(table, "iceberg_table_not_found")
    shared.world.init(table)
    shared.insert(table, 10, 5)
    assert "created again" in shared.require_halted(table, "ledger_ahead")
    shared.operate("reset", table, "--to", "epoch", "--yes")
    shared.operate("resume", table, "--yes")
    shared.world.run_well(table)
    assert_exact(shared.world, table, rows=15)


@pytest.mark.full
@pytest.mark.parametrize("age", ["newest", "older"])
def test_a_restored_copy_goes_on_if_it_is_complete_and_is_halted_if_it_is_older(
    shared: OperatedTrades, foreign: ForeignWriter, age: str
) -> None:
    table = shared.take(10)
    shared.world.run_well(table)
    older = foreign.metadata_file(table)
    shared.offload(table, 5)
    kept = foreign.metadata_file(table) if age == "newest" else older
    foreign.sql(f"DROP TABLE {foreign.name(table)}")
    foreign.call("register_table", table, f"metadata_file => '{kept}'")
    shared.insert(table, 15, 5)
    if age == "older":
        assert "restored" in shared.require_halted(table, "ledger_ahead")
        shared.operate("reset", table, "--to", "epoch", "--yes")
        shared.operate("resume", table, "--yes")
    shared.world.run_well(table)
    assert_exact(shared.world, table, rows=20)


def test_a_source_that_was_dropped_and_made_again_halts_the_table(shared: OperatedTrades) -> None:
    table = shared.take(10)
    shared.world.run_well(table)
    statement = shared.world.hot.rows(f"SHOW CREATE TABLE {table.source}")[0]["statement"]
    shared.world.hot.command(f"DROP TABLE {table.source} SYNC")
    shared.world.hot.command(statement)
    shared.insert(table, 10, 5)
    assert "UUID was" in shared.require_halted(table, "source_replaced")
    shared.operate("resume", table, "--yes")
    shared.world.run_well(table)
    assert_exact(shared.world, table, rows=5)
    assert visible_rows(shared.world, table) == 15
