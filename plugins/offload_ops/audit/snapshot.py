"""One look at both tiers of one table, everything read afresh in the order that rules out false alarms."""

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
from offload_ops.audit.classify import Compared, judge
from offload_ops.audit.cold import ColdTier
from offload_ops.audit.files import Unreadable, open_table
from offload_ops.audit.hot import held_since, hot_hashes, hot_rows
from offload_ops.audit.ledger_history import Past, read_past
from offload_ops.audit.lineage import NO_LINEAGE, Lineage, lineage
from offload_ops.audit.model import NO_DIFFERENCE, Differences, WindowAudit
from offload_ops.audit.rows import labelled
from offload_ops.audit.scope import Scope
from offload_ops.audit.store import AuditStore, StoredAudit
from offload_ops.audit.windows import Grain, grid, recent
from offload_ops.tiers.row_hash import NO_ROWS
from offload_ops.tiers.verify import cold_fields, meaning_of_null

if TYPE_CHECKING:
    from pyiceberg.table import Table

_ROWS_AT_ONCE = 2_000_000
"""Rows that are told apart in one go; each takes some 100 bytes."""


@dataclass(frozen=True)
class Auditor:
    """What audits work with; opened and closed by the caller.

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
class Look:
    """One look at one table.

    Attributes:
        auditor: the servers.
        past: the ledger's side.
        described: the ClickHouse table.
        scope: what both tiers must hold alike.
        cold: Iceberg's side.
        lineage: where its snapshot comes from.
        parts: the windows that have something to compare, in order of time, and what it is.
        stored: the newest earlier audits, by their window.
        ttl_floor: before this moment a TTL may have taken rows.
    """

    auditor: Auditor
    past: Past
    described: SourceTable
    scope: Scope
    cold: ColdTier
    lineage: Lineage
    parts: dict[Interval, Interval]
    stored: dict[Interval, StoredAudit]
    ttl_floor: datetime | None

    def compare(self) -> list[Compared]:
        """Compare all windows by count and hash."""
        if not self.parts:
            return []
        windows, parts = list(self.parts), list(self.parts.values())
        hot = hot_hashes(self.auditor.client, self.scope, windows)
        cold = self.cold.figures(windows, parts, self.stored)
        return [Compared(*figures) for figures in zip(windows, parts, hot, cold, strict=True)]

    def compare_rows(self, windows: set[Interval]) -> list[WindowAudit]:
        """Compare some of the windows row by row; those that have nothing to compare are left out."""
        return [self._compare_rows(window, part) for window, part in self.parts.items() if window in windows]

    def judged(self, compared: Compared, found: Differences = NO_DIFFERENCE) -> WindowAudit:
        """Say what a window's comparison means."""
        part = compared.part
        is_restated = any(other.start < part.end and part.start < other.end for other in self.lineage.restated)
        held_before = 0 if is_restated else self.past.rows_at_least(part, self.stored.get(compared.window))
        return judge(self.past.table, compared, found, held_before, self.lineage)

    def _compare_rows(self, window: Interval, part: Interval) -> WindowAudit:
        found, hot, cold = NO_DIFFERENCE, NO_ROWS, NO_ROWS
        (counted,) = hot_hashes(self.auditor.client, self.scope, [window])
        (figures,) = self.cold.figures([window], [part], {})
        broken = dict.fromkeys(figures.unreadable)
        for piece in _pieces(part, max(counted.rows, figures.rows.rows)):
            held, unreadable = self.cold.rows(piece)
            there = hot_rows(self.auditor.client, self.scope, piece)
            found, hot, cold = found + labelled(there, held).counts, hot + there.hash, cold + held.hash
            broken |= dict.fromkeys(unreadable)
        return self.judged(Compared(window, part, hot, replace(figures, rows=cold, unreadable=tuple(broken))), found)


def take_look(auditor: Auditor, table: TableConfig, span: Interval | None, grain: Grain) -> Look:
    """Read the ledger, then open one Iceberg snapshot, then ask ClickHouse; see `offload_ops.audit.compare.audit_table`."""
    settings, windows = auditor.settings, grid(table, auditor.settings, grain)
    past = read_past(
        auditor.session,
        settings.pipeline_id,
        table,
        lambda watermark: windows.rounded(span or recent(watermark, settings.audit_hours, windows)),
    )
    stored = auditor.store.newest(table.name, past.span) if grain is Grain.HOUR else []
    opened, gone = _open(auditor, past)
    described = describe(auditor.client, table, auditor.connections.clickhouse.database)
    since, ttl_floor = _since(auditor, past, described)
    columns = project(table, described.columns)
    scope = Scope(table, columns, since or EARLIEST, past.watermark, past.closed_by, past.skipped)
    parts = {} if since is None else _parts(scope, windows.windows(past.span))
    nulls = _meaning_of_null(auditor, scope, described, opened) if opened is not None else {}
    cold = ColdTier(opened, scope, nulls, gone)
    if parts:
        cold.plan(Interval(min(part.start for part in parts.values()), max(part.end for part in parts.values())))
    way = lineage(opened, settings.pipeline_id, past.last_commit) if opened is not None else NO_LINEAGE
    known = {audit.window: audit for audit in stored if audit.source_uuid == str(described.uuid)}
    return Look(auditor, past, described, scope, cold, way, parts, known, ttl_floor)


def _open(auditor: Auditor, past: Past) -> tuple[Table | None, str | None]:
    """The Iceberg table, or why nothing of it can be read."""
    has_commits = past.last_commit is not None
    try:
        return open_table(auditor.connections.iceberg, past.table.target, has_commits=has_commits), None
    except Unreadable as error:
        return None, str(error)


def _since(auditor: Auditor, past: Past, described: SourceTable) -> tuple[datetime | None, datetime | None]:
    """From when on ClickHouse has to hold every row that was offloaded from it, and its TTL's part in that."""
    uuid = str(described.uuid)
    earlier = auditor.store.held(past.table.name, uuid)
    since, ttl_floor = held_since(auditor.client, past.table, described, past.held_from(uuid), earlier)
    replaced_until = past.replaced_until(uuid)
    if since is not None and replaced_until is not None:
        since = max(since, replaced_until + MICROSECOND)
    return since, ttl_floor


def _parts(scope: Scope, windows: Sequence[Interval]) -> dict[Interval, Interval]:
    parts = {window: scope.part(window) for window in windows}
    return {window: part for window, part in parts.items() if part is not None}


def _meaning_of_null(auditor: Auditor, scope: Scope, described: SourceTable, cold: Table) -> dict[str, list[int]]:
    fields = {field.name: field for field in cold_fields(cold)}
    # A change that the next run will follow is no difference; any other is an error here too.
    plan_changes(scope.table, list(scope.columns), list(fields.values()), SchemaContract.EVOLVE)
    return meaning_of_null(auditor.client, described, list(scope.columns), fields)


def _pieces(part: Interval, rows: int) -> list[Interval]:
    """A part cut into so many even pieces that each holds about as many rows as can be told apart at once."""
    count = max(1, ceil(rows / _ROWS_AT_ONCE))
    width = max((part.end - part.start) // count, MICROSECOND)
    edges = [part.start + number * width for number in range(count)]
    edges = [edge for edge in edges if edge < part.end]
    return [Interval(start, end) for start, end in zip(edges, [*edges[1:], part.end], strict=True)]
