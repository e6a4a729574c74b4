"""Checks that must hold after every fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offload_core.config.tables import TableConfig
from offload_core.ledger.rows import LedgerRow
from offload_core.protocol.marker import Marker
from offload_ops.tiers.cold_table import open_cold_table
from tests.support.spark.world import World

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot


def assert_exact(world: World, table: TableConfig, rows: int | None = None) -> None:
    """Check that a table is exact after a successful run that followed a fault.

    - Both tiers have the same rows up to the watermark, by count and hash, so no row is there twice; Iceberg has none
      past it.
    - The newest ledger row with a snapshot and Iceberg's newest marker belong to one commit: cursor, snapshot, record
      count.
    - The record count in Iceberg's metadata equals that of its files.
    - No attempt's branch is left.

    Args:
        world: the servers, without a proxy.
        table: the table to check.
        rows: how many rows the compared range must hold; None for any number.
    """
    world.require_equal(table, rows)
    cold = open_cold_table(world.connections.iceberg, table.target)
    assert branches(cold) <= {"main"}, "an attempt's branch was left behind"
    newest = cold.current_snapshot()
    assert newest is None or int(_summary(newest)["total-records"]) == cold.scan().count()
    _assert_nothing_past_the_watermark(world, table, cold)
    _assert_one_commit(world, table, cold)


def visible_rows(world: World, table: TableConfig) -> int:
    """How many rows readers of the Iceberg table see."""
    return open_cold_table(world.connections.iceberg, table.target).scan().count()


def branches(cold: Table) -> set[str]:
    """The names of a table's branches."""
    return {name for name, reference in cold.metadata.refs.items() if reference.snapshot_ref_type == "branch"}


def newest_marker(world: World, cold: Table) -> tuple[Snapshot, Marker] | None:
    """The newest snapshot of `main` with a marker of this pipeline, and that marker."""
    snapshot = cold.current_snapshot()
    while snapshot is not None:
        marker = Marker.from_summary(_summary(snapshot), world.settings.pipeline_id)
        if marker is not None:
            return snapshot, marker
        parent = snapshot.parent_snapshot_id
        snapshot = cold.snapshot_by_id(parent) if parent is not None else None
    return None


def _summary(snapshot: Snapshot) -> dict[str, str]:
    assert snapshot.summary is not None
    return dict(snapshot.summary.additional_properties)


def _assert_nothing_past_the_watermark(world: World, table: TableConfig, cold: Table) -> None:
    from pyiceberg.expressions import GreaterThan

    with world.ledger() as ledger:
        watermark = ledger.cursor(table.name)
    past = cold.scan(
        row_filter=GreaterThan(table.timestamp_col, watermark.timestamp.isoformat()),  # type: ignore[call-arg, arg-type]
        selected_fields=(table.timestamp_col,),
    )
    assert past.to_arrow().num_rows == 0, f"Iceberg holds rows past the watermark {watermark}"


def _assert_one_commit(world: World, table: TableConfig, cold: Table) -> None:
    valid = [row for row in world.history(table) if row.status in ("initialized", "success")]
    commit = next((row for row in valid if row.snapshot_id is not None), None)
    found = newest_marker(world, cold)
    if commit is None or found is None:
        assert commit is None, f"the ledger records {commit}, Iceberg has no marker"
        assert found is None, f"Iceberg has {found}, the ledger records no commit"
        return
    snapshot, marker = found
    in_ledger = (commit.snapshot_id, commit.cursor, commit.total_records, commit.run_id)
    in_iceberg = (snapshot.snapshot_id, marker.cursor, int(_summary(snapshot)["total-records"]), marker.run_id)
    assert in_ledger == in_iceberg, "the ledger and Iceberg's newest marker belong to different commits"
    if _only_empty_since(valid, commit):
        assert valid[0].cursor == marker.cursor


def _only_empty_since(valid: list[LedgerRow], commit: LedgerRow) -> bool:
    """Whether only empty windows were recorded after a commit, so that the watermark is still its cursor."""
    return all(row.kind == "empty" for row in valid if row.id > commit.id)
