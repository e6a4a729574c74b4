"""Where an Iceberg snapshot comes from: does it still contain this pipeline's newest commit?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from offload_core.errors import WatermarkInvalid
from offload_core.ledger.ledger import LedgerRow
from offload_core.protocol.marker import Marker
from offload_core.protocol.window import Interval

if TYPE_CHECKING:
    from pyiceberg.table import Table


@dataclass(frozen=True)
class Lineage:
    """The way back from the current snapshot to the newest commit that the ledger knows.

    Attributes:
        lacks_commit: True if the snapshot certainly doesn't contain that commit: the table was rolled back, restored or made again.
        fewer: by how many rows it holds fewer than that commit left, with no commit of ours since.
        restated: intervals that commits unknown to the ledger have replaced, because their runs died before they recorded it.
    """

    lacks_commit: bool
    fewer: int
    restated: tuple[Interval, ...]


NO_LINEAGE = Lineage(False, 0, ())


def lineage(table: Table, pipeline: str, last_commit: LedgerRow | None) -> Lineage:
    """Walk the ancestors of the current snapshot; only metadata is read.

    Args:
        table: the table, opened after the ledger was read.
        pipeline: pipeline id.
        last_commit: the newest ledger row that published a snapshot, None before the first or where an operator accepted what is there.
    """
    restated: list[Interval] = []
    newest: Marker | None = None
    snapshot = table.current_snapshot()
    is_cut = False
    while snapshot is not None:
        if last_commit is not None and snapshot.snapshot_id == last_commit.snapshot_id:
            return Lineage(False, 0 if newest else _fewer(table, last_commit), tuple(restated))
        marker = _marker(snapshot.summary.additional_properties if snapshot.summary else {}, pipeline)
        newest = newest or marker
        if marker is not None and marker.kind == "restate":
            restated.append(Interval(marker.window.lower.timestamp, marker.window.upper))
        parent = snapshot.parent_snapshot_id
        snapshot = table.snapshot_by_id(parent) if parent is not None else None
        is_cut = parent is not None and snapshot is None
    if last_commit is None:
        return Lineage(False, 0, tuple(restated))
    # A ledger that was restored from an older backup counts its rows from lower numbers: then its newest commit is not Iceberg's.
    is_older = newest is None or newest.ledger_id < (last_commit.started_from or 0)
    is_there = (
        table.snapshot_by_id(last_commit.snapshot_id) is not None if last_commit.snapshot_id is not None else False
    )
    return Lineage(is_older and (is_there or not is_cut), 0, tuple(restated))


def _fewer(table: Table, last_commit: LedgerRow) -> int:
    """How many rows fewer there are now than after a commit; each entry of a delete file counts as one row less."""
    snapshot = table.current_snapshot()
    summary = snapshot.summary.additional_properties if snapshot is not None and snapshot.summary else {}
    held, *deleted = (
        int(summary.get(f"total-{what}") or 0) for what in ("records", "position-deletes", "equality-deletes")
    )
    return max(0, (last_commit.total_records or 0) - (held - sum(deleted)))


def _marker(summary: dict[str, str], pipeline: str) -> Marker | None:
    try:
        return Marker.from_summary(summary, pipeline)
    except WatermarkInvalid:
        # Somebody edited it; the next run says so.
        return None
