"""The results of audits in PostgreSQL, `offload_audits`: an append-only history that DAGs, metrics and pages read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from offload_core.errors import RunInit
from offload_core.ledger.session import LedgerConnection, ledger_errors
from offload_core.protocol.window import Interval
from offload_ops.audit.model import ColdSource, Differences, Finding, TableAudit
from offload_ops.tiers.row_hash import RowHash

_VALUES = (
    "window_start, window_end, compared_from, compared_to, hot_rows, hot_hash, cold_rows, cold_hash, finding, missing_rows, "
    "surplus_rows, changed_rows, duplicate_rows, unreadable, explanation, fingerprint, cold_source, snapshot_id, source_uuid, held_since, "
    "audited_at, run_id"
)
_COLUMNS = f"table_name, {_VALUES}, created_at"


@dataclass(frozen=True)
class StoredAudit:
    """One row of `offload_audits`: what one audit said of one window. Times are UTC; see `audit.model.WindowAudit`."""

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
class Held:
    """What earlier audits know of a ClickHouse table.

    Attributes:
        first: the earliest moment (UTC) of a compared part in which it held rows, None before the first audit.
        since: the latest moment (UTC) from which on it had to hold every row; a TTL that was shorter once has taken what lies before.
    """

    first: datetime | None
    since: datetime | None


class AuditStore:
    """The audits of one pipeline, over one PostgreSQL session that the caller opens and closes.

    All methods raise LedgerUnavailable, FixCredentials, or RunInit where the table is missing.
    """

    def __init__(self, session: LedgerConnection, pipeline: str) -> None:
        self._session = session
        self._pipeline = pipeline

    def append(self, audit: TableAudit, run_id: str) -> None:
        """Record an audit, all its windows or none."""
        names = _VALUES.split(", ")
        placeholders = ", ".join(f"%({name})s" for name in names)
        query = (
            f"INSERT INTO offload_audits (pipeline_id, table_name, {_VALUES}) "  # noqa: S608 - constants only
            f"VALUES (%(pipeline)s, %(table)s, {placeholders})"
        )
        with _store_errors(), self._session.transaction(), self._session.cursor() as cursor:
            cursor.executemany(query, [self._record(audit, number, run_id) for number in range(len(audit.windows))])

    def newest(self, table: str, span: Interval) -> list[StoredAudit]:
        """The newest audit of each window of a table that starts inside a span, in order of time."""
        return self._select(
            "DISTINCT ON (window_start, window_end)",
            "table_name = %(table)s AND window_start >= %(start)s AND window_start < %(end)s "
            "ORDER BY window_start, window_end, id DESC",
            {"table": table, "start": span.start, "end": span.end},
        )

    def of_run(self, run_id: str) -> list[StoredAudit]:
        """What one run found, table by table in order of time."""
        return self._select("", "run_id = %(run_id)s ORDER BY table_name, window_start, id", {"run_id": run_id})

    def open_findings(self, since: datetime) -> list[StoredAudit]:
        """The windows whose newest audit, at or after `since` (UTC), found a difference; the worst tables are not sorted first."""
        query = (
            f"SELECT * FROM (SELECT DISTINCT ON (table_name, window_start, window_end) {_COLUMNS} FROM offload_audits "  # noqa: S608
            "WHERE pipeline_id = %(pipeline)s AND audited_at >= %(since)s "
            "ORDER BY table_name, window_start, window_end, id DESC) newest WHERE finding <> 'equal' ORDER BY table_name, window_start"
        )
        with _store_errors():
            records = self._session.execute(query, {"pipeline": self._pipeline, "since": since}).fetchall()
        return [StoredAudit.from_record(record) for record in records]

    def last_audited(self) -> dict[str, datetime]:
        """When each table was last audited (UTC), by its name."""
        query = "SELECT table_name, max(audited_at) AS audited_at FROM offload_audits WHERE pipeline_id = %(pipeline)s GROUP BY table_name"
        with _store_errors():
            records = self._session.execute(query, {"pipeline": self._pipeline}).fetchall()
        return {record["table_name"]: record["audited_at"] for record in records}

    def held(self, table: str, source_uuid: str) -> Held:
        """What earlier audits know of a table's source."""
        query = (
            "SELECT min(compared_from) FILTER (WHERE hot_rows > 0) AS first, max(held_since) AS since FROM offload_audits "
            "WHERE pipeline_id = %(pipeline)s AND table_name = %(table)s AND source_uuid = %(source)s"
        )
        values = {"pipeline": self._pipeline, "table": table, "source": source_uuid}
        with _store_errors():
            record = self._session.execute(query, values).fetchone()
        return Held(record["first"], record["since"]) if record else Held(None, None)

    def forget(self, before: datetime) -> int:
        """Delete audits older than `before` (UTC), but keep every window's newest one that found a difference; how many went."""
        query = (
            "DELETE FROM offload_audits old WHERE pipeline_id = %(pipeline)s AND audited_at < %(before)s AND (finding = 'equal' "
            "OR EXISTS (SELECT 1 FROM offload_audits newer WHERE newer.pipeline_id = old.pipeline_id "
            "AND newer.table_name = old.table_name AND newer.window_start = old.window_start "
            "AND newer.window_end = old.window_end AND newer.id > old.id))"
        )
        with _store_errors():
            return self._session.execute(query, {"pipeline": self._pipeline, "before": before}).rowcount

    def _select(self, distinct: str, condition: str, values: Mapping[str, object]) -> list[StoredAudit]:
        query = f"SELECT {distinct} {_COLUMNS} FROM offload_audits WHERE pipeline_id = %(pipeline)s AND {condition}"  # noqa: S608
        with _store_errors():
            records: Sequence[dict[str, Any]] = self._session.execute(
                query, {"pipeline": self._pipeline, **values}
            ).fetchall()
        return [StoredAudit.from_record(record) for record in records]

    def _record(self, audit: TableAudit, number: int, run_id: str) -> dict[str, object]:
        audited = audit.windows[number]
        return {
            "pipeline": self._pipeline,
            "table": audit.table.name,
            "window_start": audited.window.start,
            "window_end": audited.window.end,
            "compared_from": audited.compared.start,
            "compared_to": audited.compared.end,
            "hot_rows": audited.hot.rows,
            "hot_hash": audited.hot.hash,
            "cold_rows": audited.cold.rows,
            "cold_hash": audited.cold.hash,
            "finding": audited.finding.value,
            "missing_rows": audited.differences.missing,
            "surplus_rows": audited.differences.surplus,
            "changed_rows": audited.differences.changed,
            "duplicate_rows": audited.differences.duplicates,
            "unreadable": list(audited.unreadable),
            "explanation": audited.explanation,
            "fingerprint": audited.fingerprint,
            "cold_source": audited.cold_source.value,
            "snapshot_id": audit.snapshot_id,
            "source_uuid": audit.source_uuid,
            "held_since": audit.held_since,
            "audited_at": audit.audited_at,
            "run_id": run_id,
        }


@contextmanager
def _store_errors() -> Iterator[None]:
    with ledger_errors():
        try:
            yield
        except psycopg.errors.UndefinedTable as error:
            raise RunInit(
                "The table offload_audits does not exist in the ledger's database.",
                "Run `offload init`; it adds what a newer version needs and changes nothing else.",
            ) from error
