"""What stands in one table's cells: its newest run, the job at work, the audits' verdict, and more that is known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from offload_core.config.tables import InvalidTable, TableConfig
from offload_core.ledger.ledger import LedgerRow
from offload_core.ledger.snapshot import AuditState, TableFigures
from offload_core.protocol.window import ORIGIN
from offload_ops.audit.model import Finding
from offload_ops.status_page.context import Around
from offload_ops.status_page.model import Audited, LastRun, Named, Progress, Tone
from offload_ops.status_page.timestamps import count, moment, roughly
from offload_ops.table_state import TableState
from offload_ops.text import amount, duration, size

_DONE = {"recovered": "recovered from Iceberg", "repair": "inserted by a repair", "restate": "restated"}
"""What was done with the rows of a step that is not an ordinary offload."""
_WORDS = {
    "empty": "nothing new",
    "init": "set up",
    "reset": "watermark set by an operator",
    "resume": "resumed by an operator",
    "failure": "failed",
    "halt": "halted",
}
_FINDINGS = {Finding.LATE: Tone.WATCH, Finding.CHANGED: Tone.WATCH, Finding.SURPLUS: Tone.BAD, Finding.LOST: Tone.BAD}
_SECOND = timedelta(seconds=1)


def last_run(state: TableState, around: Around) -> LastRun | None:
    """The newest that was recorded of a table; None before its first ledger row."""
    row = state.row
    if row is None:
        return None
    failed = row.status in ("failed", "halted")
    run = around.addresses.run(row.run_id) if row.run_id else None
    log = around.addresses.log(row.run_id, state.name, row.kind) if row.run_id else None
    return LastRun(
        tone=Tone.BAD if failed else Tone.GOOD,
        what=_what(row, around.figures.get(state.name)),
        when=moment(row.created_at, around.now),
        seconds=_seconds(row.last_run_duration_seconds),
        run=Named(row.run_id, run) if row.run_id and run else None,
        log=Named(f"Log of {row.kind} in {row.run_id}", log) if log else None,
    )


def _what(row: LedgerRow, figures: TableFigures | None) -> str:
    if row.kind in _WORDS:
        return _WORDS[row.kind]
    if row.kind == "increment" and figures is not None and figures.last_run == row.run_id and figures.chunks > 1:
        return f"{count(figures.run_rows, 'row')} in {figures.chunks} commits"
    rows = count(row.row_count, "row")
    return f"{rows} {_DONE[row.kind]}" if row.kind in _DONE else rows


def _seconds(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds * _SECOND)


def progress(state: TableState, around: Around) -> Progress | None:
    """The job that works on a table; None: there is none."""
    jobs = [job for job in around.known.reading.jobs if job.table == state.name]
    if not jobs:
        return None
    job = min(jobs, key=lambda job: job.since)
    since, figures = moment(job.since, around.now), around.figures.get(state.name)
    if figures is None or not (figures.last_run or "").startswith(job.run or " ") or not figures.chunks:
        return Progress(None, f"At work for {roughly(around.now - job.since)}.", since, 0, 0, False)
    commits = f"{count(figures.chunks, 'chunk')} committed, {count(figures.run_rows, 'row')}"
    target = around.now - timedelta(minutes=around.settings.buffer_minutes)
    if figures.read_until is None:
        return Progress(None, f"{commits}.", since, figures.chunks, figures.run_rows, True)
    left = max(target - figures.read_until, timedelta())
    told = f"{commits}; read up to {moment(figures.read_until, around.now).at}, {roughly(left)} to go."
    begin = figures.run_from if figures.run_from and figures.run_from > ORIGIN.timestamp else None
    share = (
        None
        if begin is None or target <= begin
        else min(round(100 * (figures.read_until - begin) / (target - begin)), 100)
    )
    return Progress(share, told, since, figures.chunks, figures.run_rows, True)


def audited(state: TableState, around: Around) -> Audited:
    """The verdict of the last week's audits, each window by its newest one."""
    found = [audit for audit in around.known.reading.audits if audit.table == state.name]
    if not found:
        return Audited(Tone.OFF, "not audited", "no audit in a week", None)
    when = moment(max(audit.audited_at for audit in found), around.now)
    windows = sum(audit.windows for audit in found)
    differing = [audit for audit in found if audit.finding != Finding.EQUAL.value]
    if not differing:
        return Audited(Tone.GOOD, "equal", count(windows, "window"), when)
    worst = max((Finding(audit.finding) for audit in differing), key=list(Finding).index)
    number = sum(audit.windows for audit in differing)
    detail = f"{number} of {count(windows, 'window')}, {_rows(differing)}"
    return Audited(_FINDINGS[worst], f"{worst.value} rows", detail, when, number)


def _rows(differing: list[AuditState]) -> str:
    sums: dict[str, int] = {}
    for audit in differing:
        for difference, rows in audit.rows.items():
            sums[difference] = sums.get(difference, 0) + rows
    told = [f"{amount(rows)} {difference}" for difference, rows in sums.items() if rows]
    return " and ".join(told) + " rows" if told else "unreadable files"


def details(table: TableConfig | InvalidTable, state: TableState, around: Around) -> Iterator[tuple[str, str]]:
    """What is looked at now and then."""
    if isinstance(table, TableConfig):
        yield "From", table.source
        yield "To", table.target
        yield "Mode", f"{table.write_mode.value}, columns {table.schema_contract.value}"
    figures = around.figures.get(state.name)
    if state.last_success:
        yield "Last success", _told(state.last_success, around)
    if state.cursor and state.cursor != ORIGIN:
        yield "Watermark", f"{state.cursor} UTC".replace("+00:00", "")
    if figures and figures.read_until:
        yield "Read up to", _told(figures.read_until, around)
    if figures and figures.cold_rows is not None:
        yield "Rows in Iceberg", amount(figures.cold_rows)
    if state.row:
        yield "Failed attempts in a row", amount(state.row.failure_count)
    for upkeep in around.known.reading.maintenance:
        if upkeep.table == state.name:
            kept = upkeep.figures
            files = f"{count(kept.data_files, 'file')} ({amount(kept.small_files)} small), {size(kept.bytes)}"
            told = f"{files}, {count(kept.snapshots, 'snapshot')}"
            yield "Last maintenance", f"{_told(upkeep.at, around)}: {told}"


def _told(value: datetime, around: Around) -> str:
    found = moment(value, around.now)
    return f"{found.at} UTC, {found.ago}"
