"""The results of audits in PostgreSQL, `offload_audits`: an append-only history that DAGs, metrics and pages read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from offload_core.ledger.audit_log import AuditLog
from offload_core.ledger.session import LedgerConnection
from offload_core.protocol.window import Interval
from offload_ops.audit.model import ColdSource, Differences, Finding, TableAudit, WindowAudit
from offload_ops.tiers.row_hash import RowHash


@dataclass(frozen=True)
class StoredAudit:
    """A row of `offload_audits`: the audit of one window. Times are UTC; see `offload_ops.audit.model.WindowAudit`."""

    table_name: str
    window: Interval
    compared: Interval
    hot: RowHash
    cold: RowHash
    finding: Finding
    differences: Differences
    unreadable: tuple[str, ...]
    explanation: str
    fingerprint: str
    cold_source: ColdSource
    snapshot_id: int | None
    source_uuid: str
    held_since: datetime | None
    audited_at: datetime
    created_at: datetime
    run_id: str

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> StoredAudit:
        """Build it from a record of column names and values."""
        return cls(
            table_name=record["table_name"],
            window=Interval(record["window_start"], record["window_end"]),
            compared=Interval(record["compared_from"], record["compared_to"]),
            hot=RowHash(record["hot_rows"], int(record["hot_hash"])),
            cold=RowHash(record["cold_rows"], int(record["cold_hash"])),
            finding=Finding(record["finding"]),
            differences=Differences(
                record["missing_rows"], record["surplus_rows"], record["changed_rows"], record["duplicate_rows"]
            ),
            unreadable=tuple(record["unreadable"]),
            explanation=record["explanation"],
            fingerprint=record["fingerprint"],
            cold_source=ColdSource(record["cold_source"]),
            snapshot_id=record["snapshot_id"],
            source_uuid=str(record["source_uuid"]),
            held_since=record["held_since"],
            audited_at=record["audited_at"],
            created_at=record["created_at"],
            run_id=record["run_id"],
        )


@dataclass(frozen=True)
class SourceBounds:
    """What earlier audits know about the rows of a ClickHouse table.

    Attributes:
        first: the start (UTC) of the earliest compared part in which it held rows; None before the first audit.
        since: the latest moment (UTC) from which on it had to hold every row; a TTL that was shorter then has removed
            older rows.
    """

    first: datetime | None
    since: datetime | None


class AuditStore:
    """The audits of one pipeline, over one PostgreSQL session that the caller opens and closes.

    Every method raises LedgerUnavailable, FixCredentials, or RunInit where the table is missing.
    """

    def __init__(self, session: LedgerConnection, pipeline: str) -> None:
        self._log = AuditLog(session, pipeline)

    def append(self, audit: TableAudit, run_id: str) -> None:
        """Record an audit: all its windows, or none if that fails."""
        self._log.append(audit.table.name, [_record(audit, window, run_id) for window in audit.windows])

    def newest(self, table: str, span: Interval) -> list[StoredAudit]:
        """The newest audit of each window of a table that starts inside a span, in order of time."""
        return [StoredAudit.from_record(record) for record in self._log.newest(table, span)]

    def of_run(self, run_id: str) -> list[StoredAudit]:
        """The audits of one run, table by table in order of time."""
        return [StoredAudit.from_record(record) for record in self._log.of_run(run_id)]

    def source_bounds(self, table: str, source_uuid: str) -> SourceBounds:
        """What earlier audits know about a table's source."""
        record = self._log.held(table, source_uuid)
        return SourceBounds(record["first"], record["since"])

    def delete_old(self, before: datetime) -> int:
        """Delete audits older than `before` (UTC), except a difference that no newer audit of its window has replaced.

        Returns:
            How many were deleted.
        """
        return self._log.delete_old(before)


def _record(audit: TableAudit, window: WindowAudit, run_id: str) -> dict[str, object]:
    """A window's audit by the columns of `offload_audits`."""
    return {
        "window_start": window.window.start,
        "window_end": window.window.end,
        "compared_from": window.compared.start,
        "compared_to": window.compared.end,
        "hot_rows": window.hot.rows,
        "hot_hash": window.hot.hash,
        "cold_rows": window.cold.rows,
        "cold_hash": window.cold.hash,
        "finding": window.finding.value,
        "missing_rows": window.differences.missing,
        "surplus_rows": window.differences.surplus,
        "changed_rows": window.differences.changed,
        "duplicate_rows": window.differences.duplicates,
        "unreadable": list(window.unreadable),
        "explanation": window.explanation,
        "fingerprint": window.fingerprint,
        "cold_source": window.cold_source.value,
        "snapshot_id": audit.snapshot_id,
        "source_uuid": audit.source_uuid,
        "held_since": audit.held_since,
        "audited_at": audit.audited_at,
        "run_id": run_id,
    }
