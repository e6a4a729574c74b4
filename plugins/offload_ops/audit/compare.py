"""The audit: do both tiers still hold the same rows, hour by hour, and if not, what does that mean?

Its order excludes false alarms. It reads the ledger's watermark first; then one Iceberg snapshot, which holds at least
all rows up to that watermark; then ClickHouse, which holds at least all rows of the snapshot. What both tiers must hold
is bounded by ClickHouse's TTL and by the watermark, without the intervals that an operator's watermark skipped. A
window that differs is read again, everything fresh and row by row, before it is reported.
"""

from __future__ import annotations

import time

from offload_core.config.tables import TableConfig
from offload_core.protocol.window import Interval
from offload_ops.audit.model import ColdSource, Differences, Finding, TableAudit, WindowAudit
from offload_ops.audit.snapshot import Auditor, take_snapshot
from offload_ops.audit.windows import Grain

__all__ = [
    "Auditor",
    "ColdSource",
    "Differences",
    "Finding",
    "Grain",
    "TableAudit",
    "WindowAudit",
    "audit_table",
    "compare_windows",
]


def audit_table(auditor: Auditor, table: TableConfig, run_id: str, span: Interval | None = None) -> TableAudit:
    """Compare one table's tiers hour by hour, and record the result in `offload_audits`.

    Args:
        auditor: the servers.
        table: the table's entry.
        run_id: the id under which the audit is recorded: Airflow's run id, or one of an operator's command.
        span: what to audit, in the rows' own time, extended to whole windows; None for the last `audit_hours` before
            the watermark.

    Raises:
        RetryLater: a server cannot be reached.
        RunInit: the table has no watermark yet, or `offload_audits` is missing.
        FixSource, FixColumn, FixConfiguration, FixCredentials: the configuration does not fit the servers.
    """
    audit = compare_windows(auditor, table, span)
    auditor.store.append(audit, run_id)
    return audit


def compare_windows(
    auditor: Auditor, table: TableConfig, span: Interval | None = None, grain: Grain = Grain.HOUR
) -> TableAudit:
    """Compare one table's tiers window by window, and record nothing.

    Arguments and errors are those of `audit_table`; `grain` is the width of the windows.
    """
    started = time.monotonic()
    snapshot = take_snapshot(auditor, table, span, grain)
    comparisons = snapshot.compare()
    doubtful = {comparison.window for comparison in comparisons if not comparison.is_equal}
    windows = {comparison.window: snapshot.classify(comparison) for comparison in comparisons if comparison.is_equal}
    if doubtful:
        # A window that has nothing left to compare, because a TTL or a reset has reached it, is no longer doubtful.
        fresh = take_snapshot(auditor, table, snapshot.history.span, grain)
        windows |= {audited.window: audited for audited in fresh.compare_rows(doubtful)}
    return TableAudit(
        table=table,
        watermark=snapshot.history.watermark,
        held_since=snapshot.ttl_floor,
        snapshot_id=snapshot.cold.snapshot_id,
        source_uuid=str(snapshot.described.uuid),
        audited_at=snapshot.described.now,
        seconds=time.monotonic() - started,
        windows=tuple(sorted(windows.values(), key=lambda audited: audited.window.start)),
    )
