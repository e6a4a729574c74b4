"""The audit: do both tiers still hold the same rows, hour by hour, and if not, what does that mean?

It never raises a false alarm, by its order: the ledger's watermark first; then one Iceberg snapshot, which holds at least all up to that
watermark; then ClickHouse, which holds at least all that the snapshot has. What both must hold is bounded by ClickHouse's TTL and the
watermark, and leaves out what an operator's watermark jumped over. A window that differs is looked at once more with everything fresh, row
by row, before anything is said.
"""

from __future__ import annotations

import time

from offload_core.config.tables import TableConfig
from offload_core.protocol.window import Interval
from offload_ops.audit.model import ColdSource, Differences, Finding, TableAudit, WindowAudit
from offload_ops.audit.snapshot import Auditor, take_look
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
        run_id: who asks: Airflow's run id, or what an operator's command calls itself.
        span: what to look at, in the rows' own time, rounded to whole windows; None for the last `audit_hours` before the watermark.

    Raises:
        RetryLater: a server can't be reached.
        RunInit: the table has no watermark yet, or `offload_audits` is missing.
        FixSource, FixColumn, FixConfiguration, FixCredentials
    """
    audit = compare_windows(auditor, table, span)
    auditor.store.append(audit, run_id)
    return audit


def compare_windows(
    auditor: Auditor, table: TableConfig, span: Interval | None = None, grain: Grain = Grain.HOUR
) -> TableAudit:
    """Compare one table's tiers window by window, and record nothing. Arguments and errors as of `audit_table`."""
    started = time.monotonic()
    look = take_look(auditor, table, span, grain)
    compared = look.compare()
    doubtful = {window.window for window in compared if not window.is_equal}
    windows = {window.window: look.judged(window) for window in compared if window.is_equal}
    if doubtful:
        # A window that has nothing left to compare, because TTL or a reset has come that far, is no longer doubtful.
        fresh = take_look(auditor, table, look.past.span, grain)
        windows |= {audited.window: audited for audited in fresh.compare_rows(doubtful)}
    return TableAudit(
        table=table,
        watermark=look.past.watermark,
        held_since=look.ttl_floor,
        snapshot_id=look.cold.snapshot_id,
        source_uuid=str(look.described.uuid),
        audited_at=look.described.now,
        seconds=time.monotonic() - started,
        windows=tuple(sorted(windows.values(), key=lambda audited: audited.window.start)),
    )
