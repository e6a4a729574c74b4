"""The row of one table on the page."""

from __future__ import annotations

from collections.abc import Iterator

from offload_core.config.lag import LagLevel
from offload_core.config.tables import InvalidTable, TableConfig
from offload_core.errors import WatermarkInvalid
from offload_core.protocol.window import ORIGIN
from offload_ops.alerts.cause import Runbook, likely_cause
from offload_ops.status_page.cells import audit_cell, detail_cells, last_run_cell, progress_cell
from offload_ops.status_page.context import PageContext
from offload_ops.status_page.model import (
    Action,
    Addresses,
    AuditSummary,
    Badge,
    DisplayTime,
    IssueView,
    JobProgress,
    LabeledLink,
    LastRun,
    Severity,
    TableRow,
)
from offload_ops.status_page.sparkline import sparkline
from offload_ops.table_state import Condition, Issue, TableState
from offload_ops.text import count, rough_duration

_SEVERITIES = {
    LagLevel.NORMAL: Severity.GOOD,
    LagLevel.ELEVATED: Severity.WATCH,
    LagLevel.WARNING: Severity.WATCH,
    LagLevel.CRITICAL: Severity.BAD,
    LagLevel.SEVERE: Severity.BAD,
    LagLevel.EMERGENCY: Severity.BAD,
}
_CONDITIONS = {
    Condition.HALTED: Badge(Severity.BAD, "Halted"),
    Condition.NO_WATERMARK: Badge(Severity.BAD, "Not set up"),
    Condition.WRONG_ENTRY: Badge(Severity.BAD, "Wrong entry"),
    Condition.DISABLED: Badge(Severity.OFF, "Switched off"),
}
_ACTIONS = {Action.RUN: "Run now", Action.VERIFY: "Verify …", Action.RESUME: "Resume …"}


def table_row(table: TableConfig | InvalidTable, state: TableState, context: PageContext) -> TableRow:
    """The row of one table."""
    job, last_run, audit = progress_cell(state, context), last_run_cell(state, context), audit_cell(state, context)
    lag = state.lag if state.last_success else None
    actions = dict(_actions(table, state, context.addresses))
    return TableRow(
        name=state.name,
        layer=table.layer.value,
        badge=_badge(state, job),
        state=state.row.status if state.row and state.condition is Condition.OK else state.condition.value,
        lag=_lag(state),
        lag_minutes=round(lag.total_seconds() / 60, 1) if lag is not None else None,
        level=Badge(_SEVERITIES[state.level], state.level.value) if state.level is not None else None,
        watermark=_watermark(state, context),
        failures=state.row.failure_count if state.row else 0,
        last_run=last_run,
        progress=job,
        sparkline=sparkline(state.name, context),
        audit=audit,
        issue=_issue(state, audit, last_run, actions.get(Action.RESUME), context),
        actions=tuple(link for action, link in actions.items() if action is not Action.RESUME),
        details=tuple(detail_cells(table, state, context)),
    )


def is_late(state: TableState) -> bool:
    """Whether its lag is one that alerts report."""
    return state.level not in (None, LagLevel.NORMAL, LagLevel.ELEVATED)


def is_resumable(state: TableState) -> bool:
    """Whether only an operator can make its offload continue."""
    is_unreadable = state.issue is not None and state.issue.kind == WatermarkInvalid.kind
    return state.condition is Condition.HALTED or (state.condition is Condition.FAILED and is_unreadable)


def _badge(state: TableState, job: JobProgress | None) -> Badge:
    if state.condition in _CONDITIONS:
        return _CONDITIONS[state.condition]
    if state.issue is not None:
        return Badge(Severity.BAD, "Failing") if state.issue.is_final else Badge(Severity.WATCH, "Trying again")
    if job is not None:
        return Badge(Severity.BUSY, "Catching up" if job.is_catching_up else "Running")
    if state.level is not None and is_late(state):
        return Badge(_SEVERITIES[state.level], "Late")
    return Badge(Severity.GOOD, "Good") if state.last_success else Badge(Severity.WATCH, "Never offloaded")


def _lag(state: TableState) -> str:
    if state.lag is None or state.condition is Condition.DISABLED:
        return ""
    return rough_duration(state.lag) if state.last_success else f"set up {rough_duration(state.lag)} ago"


def _watermark(state: TableState, context: PageContext) -> DisplayTime | None:
    cursor = state.cursor
    return None if cursor is None or cursor == ORIGIN else context.time(cursor.timestamp)


def _actions(
    table: TableConfig | InvalidTable, state: TableState, addresses: Addresses
) -> Iterator[tuple[Action, LabeledLink]]:
    address = addresses.act
    if address is None or isinstance(table, InvalidTable) or not table.enabled:
        return
    possible = {
        Action.RESUME: is_resumable(state),
        Action.RUN: state.condition in (Condition.OK, Condition.FAILED),
        Action.VERIFY: state.last_success is not None,
    }
    for action, is_possible in possible.items():
        if is_possible:
            yield action, LabeledLink(_ACTIONS[action], address(action, state.name))


def _issue(
    state: TableState, audit: AuditSummary, last_run: LastRun | None, resume: LabeledLink | None, context: PageContext
) -> IssueView | None:
    if not state.is_watched:
        return None
    if state.issue is not None:
        # A scheduler that stopped after the failure does not explain it.
        cause = likely_cause(state, None, context.now)
        return IssueView(
            severity=Severity.BAD if state.issue.is_final else Severity.WATCH,
            title=_title(state, state.issue, context),
            finding=state.issue.message,
            remedy=cause.remedy,
            runbook=context.runbook(cause.runbook),
            actions=[resume] if resume else [],
            log=last_run.log if last_run else None,
        )
    if state.level is not None and is_late(state) and not context.is_explained:
        cause = likely_cause(state, context.cycles, context.now)
        title = f"{rough_duration(state.lag)} without an offload" if state.lag else "Late"
        runbook = context.runbook(cause.runbook)
        return IssueView(_SEVERITIES[state.level], title, cause.finding, cause.remedy, runbook, is_lag=True)
    if audit.differing:
        return IssueView(
            severity=audit.severity,
            title=f"The tiers differ in {count(audit.differing, 'window')}",
            finding=f"The newest audit found {audit.verdict}: {audit.detail}.",
            remedy=f"`offload audit {state.name}` shows where, and what to do.",
            runbook=context.runbook(Runbook.FAILURE),
            is_audit=True,
        )
    return None


def _title(state: TableState, issue: Issue, context: PageContext) -> str:
    since = f" since {context.time(issue.since).text} UTC" if issue.since else ""
    if state.condition is Condition.HALTED:
        return f"Halted{since}"
    if state.condition is Condition.FAILED:
        return f"Failed {count(issue.attempts, 'time')} in a row" if issue.attempts > 1 else f"Failed{since}"
    return _CONDITIONS[state.condition].word
