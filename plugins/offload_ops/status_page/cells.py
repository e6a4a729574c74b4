"""The cells of one table: its newest run, the job at work, the result of its audits, and further details."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from offload_core.config.tables import InvalidTable, TableConfig
from offload_core.ledger.rows import FAILED_STATUSES, LedgerRow, StepKind
from offload_core.ledger.snapshot import AuditState, TableMetrics
from offload_core.protocol.window import ORIGIN
from offload_ops.audit.model import Finding
from offload_ops.status_page.context import PageContext
from offload_ops.status_page.model import AuditSummary, JobProgress, LabeledLink, LastRun, Severity
from offload_ops.table_state import TableState
from offload_ops.text import amount, byte_size, count, duration, rough_duration

_ROW_SUFFIXES = {
    StepKind.RECOVERED: "recovered from Iceberg",
    StepKind.REPAIR: "inserted by a repair",
    StepKind.RESTATE: "restated",
}
"""What happened to the rows of a step that is not an ordinary offload."""
_OUTCOMES = {
    StepKind.EMPTY: "nothing new",
    StepKind.INIT: "set up",
    StepKind.RESET: "watermark set by an operator",
    StepKind.RESUME: "resumed by an operator",
    StepKind.FAILURE: "failed",
    StepKind.HALT: "halted",
}
_FINDINGS = {
    Finding.LATE: Severity.WATCH,
    Finding.CHANGED: Severity.WATCH,
    Finding.SURPLUS: Severity.BAD,
    Finding.LOST: Severity.BAD,
}


def last_run_cell(state: TableState, context: PageContext) -> LastRun | None:
    """The newest ledger row of a table; None before its first one."""
    row = state.row
    if row is None:
        return None
    failed = row.status in FAILED_STATUSES
    run = context.addresses.run(row.run_id) if row.run_id else None
    log = context.addresses.log(row.run_id, state.name, row.kind) if row.run_id else None
    return LastRun(
        severity=Severity.BAD if failed else Severity.GOOD,
        outcome=_outcome(row, context.metrics.get(state.name)),
        at=context.time(row.created_at),
        duration=_run_duration(row.last_run_duration_seconds),
        run=LabeledLink(row.run_id, run) if row.run_id and run else None,
        log=LabeledLink(f"Log of {row.kind} in {row.run_id}", log) if log else None,
    )


def _outcome(row: LedgerRow, metrics: TableMetrics | None) -> str:
    if row.kind in _OUTCOMES:
        return _OUTCOMES[row.kind]
    if row.kind is StepKind.INCREMENT and metrics is not None and metrics.last_run == row.run_id and metrics.chunks > 1:
        return f"{count(metrics.run_rows, 'row')} in {metrics.chunks} commits"
    rows = count(row.row_count, "row")
    return f"{rows} {_ROW_SUFFIXES[row.kind]}" if row.kind in _ROW_SUFFIXES else rows


def _run_duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"{seconds:.1f} s" if seconds < 10 else duration(timedelta(seconds=seconds))


def progress_cell(state: TableState, context: PageContext) -> JobProgress | None:
    """The progress of the job that works on a table; None without a job."""
    jobs = [job for job in context.data.snapshot.jobs if job.table == state.name]
    if not jobs:
        return None
    job = min(jobs, key=lambda job: job.since)
    since, metrics = context.time(job.since), context.metrics.get(state.name)
    # PostgreSQL cuts the name of a session, so that a job may know only the beginning of its run's id.
    is_runs_own = metrics is not None and job.run is not None and (metrics.last_run or "").startswith(job.run)
    if metrics is None or not is_runs_own or not metrics.chunks:
        return JobProgress(None, f"Running for {rough_duration(context.now - job.since)}.", since)
    percent, remaining = _distance(metrics, context)
    text = f"{count(metrics.chunks, 'chunk')} committed, {count(metrics.run_rows, 'row')}{remaining}."
    return JobProgress(percent, text, since, metrics.chunks, metrics.run_rows, is_catching_up=True)


def _distance(metrics: TableMetrics, context: PageContext) -> tuple[int | None, str]:
    """How far a run has read, in percent and in words; None and empty if unknown."""
    target = context.now - timedelta(minutes=context.settings.buffer_minutes)
    read_until, begin = metrics.read_until, metrics.run_from
    if read_until is None:
        return None, ""
    remaining = rough_duration(max(target - read_until, timedelta()))
    text = f"; read up to {context.time(read_until).text}, {remaining} to go"
    # A first run begins at the origin, 1970, long before the first row: its share would say nothing.
    if begin is None or begin <= ORIGIN.timestamp or target <= begin:
        return None, text
    return min(round(100 * (read_until - begin) / (target - begin)), 100), text


def audit_cell(state: TableState, context: PageContext) -> AuditSummary:
    """The result of the last week's audits: each window counts as its newest audit found it."""
    audits = [audit for audit in context.data.snapshot.audits if audit.table == state.name]
    if not audits:
        return AuditSummary(Severity.OFF, "not audited", "no audit in the last week", None)
    at = context.time(max(audit.audited_at for audit in audits))
    windows = sum(audit.windows for audit in audits)
    differing = [audit for audit in audits if audit.finding != Finding.EQUAL.value]
    if not differing:
        return AuditSummary(Severity.GOOD, "equal", count(windows, "window"), at)
    worst = max((Finding(audit.finding) for audit in differing), key=list(Finding).index)
    number = sum(audit.windows for audit in differing)
    detail = f"{number} of {count(windows, 'window')}, {_differing_rows(differing)}"
    return AuditSummary(_FINDINGS[worst], f"{worst.value} rows", detail, at, number)


def _differing_rows(audits: list[AuditState]) -> str:
    sums: dict[str, int] = {}
    for audit in audits:
        for difference, rows in audit.rows.items():
            sums[difference] = sums.get(difference, 0) + rows
    parts = [f"{amount(rows)} {difference}" for difference, rows in sums.items() if rows]
    return " and ".join(parts) + " rows" if parts else "unreadable files"


def detail_cells(
    table: TableConfig | InvalidTable, state: TableState, context: PageContext
) -> Iterator[tuple[str, str]]:
    """The facts that are shown when a table's name is opened."""
    if isinstance(table, TableConfig):
        yield "From", table.source
        yield "To", table.target
        yield "Mode", f"{table.write_mode.value}, columns {table.schema_contract.value}"
    metrics = context.metrics.get(state.name)
    if state.last_success:
        yield "Last success", str(context.time(state.last_success))
    if state.cursor and state.cursor != ORIGIN:
        yield "Watermark", f"{state.cursor} UTC".replace("+00:00", "")
    if metrics and metrics.read_until:
        yield "Read up to", str(context.time(metrics.read_until))
    if metrics and metrics.cold_rows is not None:
        yield "Rows in Iceberg", amount(metrics.cold_rows)
    if state.row:
        yield "Failed attempts in a row", amount(state.row.failure_count)
    for maintenance in context.data.snapshot.maintenance:
        if maintenance.table == state.name:
            stats = maintenance.figures
            files = f"{count(stats.data_files, 'file')} ({amount(stats.small_files)} small), {byte_size(stats.bytes)}"
            yield "Last maintenance", f"{context.time(maintenance.at)}: {files}, {count(stats.snapshots, 'snapshot')}"
