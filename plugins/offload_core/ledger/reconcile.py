"""Whether the ledger and Iceberg agree, and what it means if they do not: the second step of a run. Pure functions.

Iceberg is the truth, and the ledger is repaired from it. What that cannot explain halts the table.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from offload_core.errors import ColdRowsLost, LedgerAhead, SourceReplaced, WatermarkInvalid
from offload_core.ledger.rows import LedgerRow, StepKind
from offload_core.protocol.marker import Marker


@dataclass(frozen=True)
class ColdState:
    """The state of the branch `main` of an Iceberg table.

    Attributes:
        marker: this pipeline's newest marker among `main`'s ancestors, None if there is none.
        snapshot_id: the snapshot that carries the marker.
        records_at_marker: the table's record count in that snapshot.
        records: its record count now; 0 for a table without snapshots.
        lost: how many rows fewer than in that snapshot a partition holds, by the partition's value (`2026-11-18`).
        is_cut: True if no marker was found because older snapshots have been expired.
        unreadable: why the snapshot's marker cannot be read, None if it can.
    """

    marker: Marker | None
    snapshot_id: int | None
    records_at_marker: int | None
    records: int
    lost: Mapping[str, int] = field(default_factory=dict)
    is_cut: bool = False
    unreadable: str | None = None


def unrecorded_commit(
    watermark: LedgerRow, last_commit: LedgerRow | None, operator_row: int, cold: ColdState
) -> Marker | None:
    """The marker of a commit that the ledger lacks, None if it has all.

    - The marker started from the newest valid row: its run died between the commit and the ledger row.
    - It started from a newer row than that: the ledger was restored from an older backup. (Once recorded, such a commit
      is recognized by its snapshot id, because the restored ledger numbers its rows from a lower id on.)
    - Only empty windows were recorded since: the rows past the watermark expired in ClickHouse before the next run
      read.
    - An operator's row that is newer than the marker takes precedence over it.

    Args:
        watermark: the newest valid ledger row.
        last_commit: the newest ledger row that published a snapshot, if any.
        operator_row: id of the newest row that an operator wrote, 0 for none.
        cold: the state of Iceberg's table.
    """
    marker = cold.marker
    if last_commit is not None and last_commit.snapshot_id == cold.snapshot_id:
        return None
    if marker is None or marker.ledger_id >= watermark.id:
        return marker
    is_recorded = last_commit is not None and (last_commit.started_from or 0) >= marker.ledger_id
    only_empty_since = watermark.kind is StepKind.EMPTY and watermark.cursor < marker.cursor
    return marker if only_empty_since and not is_recorded and marker.ledger_id >= operator_row else None


def require_agreement(
    watermark: LedgerRow, last_commit: LedgerRow | None, cold: ColdState, source_uuid: uuid.UUID
) -> None:
    """Require that nothing has happened to source or target that only an operator can judge.

    Args:
        watermark: the newest valid ledger row, with no unrecorded commit after it.
        last_commit: the newest ledger row that published a snapshot, None before the first or after `offload resume`.
        cold: the state of Iceberg's table.
        source_uuid: UUID of the ClickHouse table now.

    Raises:
        SourceReplaced: the ClickHouse table was dropped and created again.
        LedgerAhead: Iceberg lacks a commit that the ledger records.
        ColdRowsLost: Iceberg holds fewer rows than after our last commit.
    """
    table = watermark.table_name
    if watermark.source_uuid is not None and watermark.source_uuid != source_uuid:
        raise SourceReplaced(
            f"The ClickHouse table behind {table} is not the one offloaded so far: "
            f"its UUID was {watermark.source_uuid} and is {source_uuid}.",
            f"If the new table carries on where the old one ended, run `offload resume {table}`; "
            "if it starts afresh, choose a watermark with `offload reset` first.",
        )
    if last_commit is None or last_commit.snapshot_id != cold.snapshot_id:
        _require_readable(watermark, last_commit, cold)
    if last_commit is None:
        return
    _require_known_commit(last_commit, cold)
    _require_all_rows(last_commit, cold)


def _require_readable(watermark: LedgerRow, last_commit: LedgerRow | None, cold: ColdState) -> None:
    """Require that an unreadable marker is not one that the ledger lacks; `offload resume` accepts it as it is."""
    has_been_accepted = last_commit is None and watermark.generation > 0
    if cold.unreadable is not None and not has_been_accepted:
        table = watermark.table_name
        raise WatermarkInvalid(
            f"Snapshot {cold.snapshot_id} of Iceberg's {table} is not in the ledger. {cold.unreadable}",
            f"Somebody edited the snapshot's summary: compare both tiers (`offload verify {table}`), choose a "
            "watermark with "
            f"`offload reset {table}`, then run `offload resume {table}`; no row is inserted twice by that.",
        )


def _require_known_commit(last_commit: LedgerRow, cold: ColdState) -> None:
    if last_commit.snapshot_id == cold.snapshot_id:
        return
    if (
        cold.marker is not None
        and last_commit.started_from is not None
        and cold.marker.ledger_id >= last_commit.started_from
    ):
        return
    table = last_commit.table_name
    commit = f"snapshot {last_commit.snapshot_id} ({last_commit.row_count} rows up to {last_commit.cursor})"
    if cold.is_cut:
        raise LedgerAhead(
            f"Snapshots of Iceberg's {table} were expired past our newest commit: it is unknown whether the table "
            "still "
            f"contains {commit}, which the ledger records as published.",
            f"Compare both tiers with `offload verify {table}`. If they agree, run `offload resume {table}`; if not, "
            "choose a "
            f"watermark with `offload reset {table}` first. Rows that are in Iceberg already are not inserted twice by "
            "that. "
            "Expire only snapshots older than our newest commit.",
        )
    raise LedgerAhead(
        f"Iceberg's {table} lacks {commit}, "
        "which the ledger records as published: the table was rolled back, restored or created again.",
        f"Bring the snapshot back, or choose a watermark with `offload reset {table}` "
        f"and then run `offload resume {table}`; "
        "rows that are in Iceberg already are not inserted twice by that.",
    )


def _require_all_rows(last_commit: LedgerRow, cold: ColdState) -> None:
    table, before = last_commit.table_name, last_commit.total_records
    # By partition first: rows that others have added elsewhere must not hide lost ones.
    lost = sum(cold.lost.values()) or max(0, (before or 0) - cold.records)
    if not lost:
        return
    where = ", ".join(f"{partition} lost {rows} rows" for partition, rows in cold.lost.items())
    raise ColdRowsLost(
        f"Iceberg's {table} lost {lost} rows since our last commit ({before} rows in snapshot "
        f"{last_commit.snapshot_id}, "
        f"{cold.records} now), and no commit of ours removed them{f': {where}' if where else ''}.",
        "Find the commit that did (the table's `snapshots` metadata table), roll back or repair, then run "
        f"`offload resume {table}`.",
    )
