"""The lineage of an Iceberg snapshot: does it still contain this pipeline's newest commit?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from offload_core.errors import WatermarkInvalid
from offload_core.ledger.rows import LedgerRow, StepKind
from offload_core.protocol.marker import Marker
from offload_core.protocol.window import Interval

if TYPE_CHECKING:
    from pyiceberg.table import Table


@dataclass(frozen=True)
class Lineage:
    """The path from the current snapshot back to the newest commit that the ledger knows.

    Attributes:
        lacks_commit: True if the snapshot certainly lacks that commit: the table was rolled back, restored or
            recreated.
        fewer: how many rows fewer it holds than after that commit, without a later commit of this pipeline.
        restated: intervals that were replaced by commits unknown to the ledger: their runs died before they recorded
            them.
    """

    lacks_commit: bool
    fewer: int
    restated: tuple[Interval, ...]


NO_LINEAGE = Lineage(False, 0, ())


def trace_lineage(table: Table, pipeline: str, last_commit: LedgerRow | None) -> Lineage:
    """Follow the ancestors of the current snapshot. Only metadata is read.

    Args:
        table: the table, opened after the ledger was read.
        pipeline: pipeline id.
        last_commit: the newest ledger row that published a snapshot; None before the first commit, or if an operator
            has accepted the table as it is since.
    """
    restated: list[Interval] = []
    newest: Marker | None = None
    snapshot = table.current_snapshot()
    is_cut = False
    while snapshot is not None:
        if last_commit is not None and snapshot.snapshot_id == last_commit.snapshot_id:
            return Lineage(False, 0 if newest else _missing_rows(table, last_commit), tuple(restated))
        marker = _marker(snapshot.summary.additional_properties if snapshot.summary else {}, pipeline)
        newest = newest or marker
        if marker is not None and marker.kind == StepKind.RESTATE:
            restated.append(Interval(marker.window.lower.timestamp, marker.window.upper))
        parent = snapshot.parent_snapshot_id
        snapshot = table.snapshot_by_id(parent) if parent is not None else None
        is_cut = parent is not None and snapshot is None
    if last_commit is None:
        return Lineage(False, 0, tuple(restated))
    # A ledger that was restored from an older backup only knows commits older than Iceberg's newest: nothing is lost.
    is_older = newest is None or newest.ledger_id < (last_commit.started_from or 0)
    exists = last_commit.snapshot_id is not None and table.snapshot_by_id(last_commit.snapshot_id) is not None
    # Where expired snapshots cut the path, a commit that no longer exists may have been an ancestor.
    return Lineage(is_older and (exists or not is_cut), 0, tuple(restated))


def _missing_rows(table: Table, last_commit: LedgerRow) -> int:
    """How many rows fewer the table holds than after a commit. Each entry of a delete file is one deleted row."""
    snapshot = table.current_snapshot()
    summary = snapshot.summary.additional_properties if snapshot is not None and snapshot.summary else {}
    records, *deleted = (
        int(summary.get(f"total-{what}") or 0) for what in ("records", "position-deletes", "equality-deletes")
    )
    return max(0, (last_commit.total_records or 0) - (records - sum(deleted)))


def _marker(summary: dict[str, str], pipeline: str) -> Marker | None:
    try:
        return Marker.from_summary(summary, pipeline)
    except WatermarkInvalid:
        # Somebody edited the marker; the next run reports it.
        return None
