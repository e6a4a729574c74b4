"""Reading both tiers of one table for an audit, everything fresh and in the order that excludes false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import ceil
from typing import TYPE_CHECKING

from offload_core.config.connections import Connections
from offload_core.config.settings import Settings
from offload_core.config.tables import SchemaContract, TableConfig
from offload_core.ledger.session import LedgerConnection
from offload_core.protocol.window import EARLIEST, MICROSECOND, Interval
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.projection import project
from offload_core.source.schema_drift import plan_changes
from offload_core.source.table import SourceTable, describe
from offload_ops.audit.classify import WindowComparison, classify
from offload_ops.audit.cold import ColdTier
from offload_ops.audit.files import UnreadableFile, open_table
from offload_ops.audit.hot import held_since, hot_hashes, hot_rows
from offload_ops.audit.ledger_history import OffloadHistory, read_history
from offload_ops.audit.lineage import NO_LINEAGE, Lineage, trace_lineage
from offload_ops.audit.model import NO_DIFFERENCE, Differences, WindowAudit
from offload_ops.audit.rows import label_differences
from offload_ops.audit.scope import Scope
from offload_ops.audit.store import AuditStore, StoredAudit
from offload_ops.audit.windows import Grain, recent_span, window_grid
from offload_ops.tiers.row_hash import NO_ROWS
from offload_ops.tiers.verify import cold_fields, meaning_of_null

if TYPE_CHECKING:
    from pyiceberg.table import Table

_ROWS_AT_ONCE = 2_000_000
"""Rows that are compared one by one at once; each needs about 100 bytes of memory."""


@dataclass(frozen=True)
class Auditor:
    """What audits work with; the caller opens and closes it.

    Attributes:
        client: ClickHouse.
        connections: the servers.
        session: PostgreSQL, with ledger and earlier audits.
        settings: the pipeline's settings.
    """

    client: ClickHouse
    connections: Connections
    session: LedgerConnection
    settings: Settings

    @property
    def store(self) -> AuditStore:
        """The earlier audits."""
        return AuditStore(self.session, self.settings.pipeline_id)


@dataclass(frozen=True)
class AuditSnapshot:
    """Both tiers of one table at one time.

    Attributes:
        auditor: the servers.
        history: the ledger's side.
        described: the ClickHouse table.
        scope: what both tiers must hold alike.
        cold: Iceberg's side.
        lineage: where Iceberg's snapshot comes from.
        parts: the windows that have something to compare, in order of time, and the part of each that is compared.
        stored: the newest earlier audits, by their window.
        ttl_floor: a TTL may have removed rows from before this moment (UTC).
    """

    auditor: Auditor
    history: OffloadHistory
    described: SourceTable
    scope: Scope
    cold: ColdTier
    lineage: Lineage
    parts: dict[Interval, Interval]
    stored: dict[Interval, StoredAudit]
    ttl_floor: datetime | None

    def compare(self) -> list[WindowComparison]:
        """Compare all windows by count and hash."""
        if not self.parts:
            return []
        hot = hot_hashes(self.auditor.client, self.scope, list(self.parts))
        cold = self.cold.hash_windows(self.parts, self.stored)
        return [WindowComparison(window, part, hot[window], cold[window]) for window, part in self.parts.items()]

    def compare_rows(self, windows: set[Interval]) -> list[WindowAudit]:
        """Compare some of the windows row by row. Windows that have nothing to compare are left out."""
        return [self._compare_rows(window, part) for window, part in self.parts.items() if window in windows]

    def classify(self, comparison: WindowComparison, differences: Differences = NO_DIFFERENCE) -> WindowAudit:
        """Say what the comparison of a window means."""
        part = comparison.part
        is_restated = any(other.start < part.end and part.start < other.end for other in self.lineage.restated)
        # A restate may have deleted rows on purpose, so the ledger no longer says how many there must be.
        held_before = 0 if is_restated else self.history.rows_at_least(part, self.stored.get(comparison.window))
        return classify(self.history.table, comparison, differences, held_before, self.lineage)

    def _compare_rows(self, window: Interval, part: Interval) -> WindowAudit:
        differences, hot, cold = NO_DIFFERENCE, NO_ROWS, NO_ROWS
        hot_hash = hot_hashes(self.auditor.client, self.scope, [window])[window]
        cold_hash = self.cold.hash_windows({window: part}, {})[window]
        # A dictionary keeps the reasons in order and each only once.
        unreadable = dict.fromkeys(cold_hash.unreadable)
        for piece in _pieces(part, max(hot_hash.rows, cold_hash.rows.rows)):
            cold_piece, unreadable_files = self.cold.rows(piece)
            hot_piece = hot_rows(self.auditor.client, self.scope, piece)
            differences += label_differences(hot_piece, cold_piece).counts
            hot, cold = hot + hot_piece.hash, cold + cold_piece.hash
            unreadable |= dict.fromkeys(unreadable_files)
        cold_hash = replace(cold_hash, rows=cold, unreadable=tuple(unreadable))
        return self.classify(WindowComparison(window, part, hot, cold_hash), differences)


def take_snapshot(auditor: Auditor, table: TableConfig, span: Interval | None, grain: Grain) -> AuditSnapshot:
    """Read the ledger, then open one Iceberg snapshot, then query ClickHouse.

    Arguments and errors are those of `offload_ops.audit.compare.compare_windows`.
    """
    settings, grid = auditor.settings, window_grid(table, auditor.settings, grain)
    history = read_history(
        auditor.session,
        settings.pipeline_id,
        table,
        lambda watermark: grid.round_out(span or recent_span(watermark, settings.audit_hours, grid)),
    )
    earlier = auditor.store.newest(table.name, history.span) if grain is Grain.HOUR else []
    cold_table, unreadable_reason = _open(auditor, history)
    described = describe(auditor.client, table, auditor.connections.clickhouse.database)
    since, ttl_floor = _since(auditor, history, described)
    columns = project(table, described.columns)
    scope = Scope(table, columns, since or EARLIEST, history.watermark, history.closed_by, history.skipped)
    parts = {} if since is None else _parts(scope, grid.windows(history.span))
    nulls = _meaning_of_null(auditor, scope, described, cold_table) if cold_table is not None else {}
    cold = ColdTier(cold_table, scope, nulls, unreadable_reason)
    if parts:
        cold.plan(Interval(min(part.start for part in parts.values()), max(part.end for part in parts.values())))
    lineage = NO_LINEAGE
    if cold_table is not None:
        lineage = trace_lineage(cold_table, settings.pipeline_id, history.last_commit)
    # What an audit found in another ClickHouse table says nothing about this one.
    stored = {audit.window: audit for audit in earlier if audit.source_uuid == str(described.uuid)}
    return AuditSnapshot(auditor, history, described, scope, cold, lineage, parts, stored, ttl_floor)


def _open(auditor: Auditor, history: OffloadHistory) -> tuple[Table | None, str | None]:
    """The Iceberg table, or the reason why it cannot be read."""
    has_commits = history.last_commit is not None
    try:
        return open_table(auditor.connections.iceberg, history.table.target, has_commits=has_commits), None
    except UnreadableFile as error:
        return None, str(error)


def _since(
    auditor: Auditor, history: OffloadHistory, described: SourceTable
) -> tuple[datetime | None, datetime | None]:
    """From when on ClickHouse must hold every row that was offloaded from it, and the part of a TTL in that."""
    uuid = str(described.uuid)
    earlier = auditor.store.source_bounds(history.table.name, uuid)
    since, ttl_floor = held_since(auditor.client, history.table, described, history.held_from(uuid), earlier)
    replaced_until = history.replaced_until(uuid)
    if since is not None and replaced_until is not None:
        since = max(since, replaced_until + MICROSECOND)
    return since, ttl_floor


def _parts(scope: Scope, windows: Sequence[Interval]) -> dict[Interval, Interval]:
    parts = {window: scope.part(window) for window in windows}
    return {window: part for window, part in parts.items() if part is not None}


def _meaning_of_null(auditor: Auditor, scope: Scope, described: SourceTable, cold: Table) -> dict[str, list[int]]:
    fields = {field.name: field for field in cold_fields(cold)}
    # A schema change that the next run will apply is not a difference; any other is an error here too.
    plan_changes(scope.table, list(scope.columns), list(fields.values()), SchemaContract.EVOLVE)
    return meaning_of_null(auditor.client, described, list(scope.columns), fields)


def _pieces(part: Interval, rows: int) -> list[Interval]:
    """A part cut into pieces of equal length, each with about as many rows as can be compared at once."""
    count = max(1, ceil(rows / _ROWS_AT_ONCE))
    width = max((part.end - part.start) // count, MICROSECOND)
    edges = [part.start + number * width for number in range(count)]
    edges = [edge for edge in edges if edge < part.end]
    return [Interval(start, end) for start, end in zip(edges, [*edges[1:], part.end], strict=True)]
