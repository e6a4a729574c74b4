"""One table's line of the page."""

from __future__ import annotations

from collections.abc import Iterator

from offload_core.config.lag import LagLevel
from offload_core.config.tables import InvalidTable, TableConfig
from offload_core.errors import WatermarkInvalid
from offload_core.protocol.window import ORIGIN
from offload_ops.alerts.cause import Runbook, likely_cause
from offload_ops.status_page.cells import audited, details, last_run, progress
from offload_ops.status_page.context import Around
from offload_ops.status_page.model import (
    Action,
    Addresses,
    Audited,
    LastRun,
    Mark,
    Moment,
    Named,
    Progress,
    TableLine,
    Tone,
    Trouble,
)
from offload_ops.status_page.sparkline import sparkline
from offload_ops.status_page.timestamps import count, moment, roughly
from offload_ops.table_state import Condition, Problem, TableState

_TONES = {
    LagLevel.NORMAL: Tone.GOOD,
    LagLevel.ELEVATED: Tone.WATCH,
    LagLevel.WARNING: Tone.WATCH,
    LagLevel.CRITICAL: Tone.BAD,
    LagLevel.SEVERE: Tone.BAD,
    LagLevel.EMERGENCY: Tone.BAD,
}
_CONDITIONS = {
    Condition.HALTED: Mark(Tone.BAD, "Halted"),
    Condition.NO_WATERMARK: Mark(Tone.BAD, "Not set up"),
    Condition.WRONG_ENTRY: Mark(Tone.BAD, "Wrong entry"),
    Condition.DISABLED: Mark(Tone.OFF, "Switched off"),
}
_ACTIONS = {Action.RUN: "Run now", Action.VERIFY: "Verify …", Action.RESUME: "Resume …"}


def table_line(table: TableConfig | InvalidTable, state: TableState, around: Around) -> TableLine:
    """What is said of one table."""
    at_work, last, audit = progress(state, around), last_run(state, around), audited(state, around)
    entries = [entry for entry in around.known.day.entries if entry.table == state.name]
    late = state.lag if state.last_success else None
    actions = {action: Named(_ACTIONS[action], address) for action, address in _actions(table, state, around.addresses)}
    return TableLine(
        name=state.name,
        layer=table.layer.value,
        mark=_mark(state, at_work),
        state=state.row.status if state.row and state.condition is Condition.GOOD else state.condition.value,
        lag=_lag(state),
        lag_minutes=round(late.total_seconds() / 60, 1) if late is not None else None,
        level=_level(state),
        watermark=_watermark(state, around),
        failures=state.row.failure_count if state.row else 0,
        last_run=last,
        progress=at_work,
        spark=sparkline(
            state.name, entries, around.known.day, around.known.period, around.settings.lag_minutes, around.now
        ),
        audit=audit,
        trouble=_trouble(state, audit, last, actions, around),
        actions=tuple(address for action, address in actions.items() if action is not Action.RESUME),
        details=tuple(details(table, state, around)),
    )


def is_late(state: TableState) -> bool:
    """Whether its lag is one that alerts tell of."""
    return state.level not in (None, LagLevel.NORMAL, LagLevel.ELEVATED)


def resumable(state: TableState) -> bool:
    """Whether only an operator can let it go on."""
    is_unreadable = state.problem is not None and state.problem.kind == WatermarkInvalid.kind
    return state.condition is Condition.HALTED or (state.condition is Condition.FAILED and is_unreadable)


def _mark(state: TableState, at_work: Progress | None) -> Mark:
    if state.condition in _CONDITIONS:
        return _CONDITIONS[state.condition]
    if state.problem is not None:
        return Mark(Tone.BAD, "Failing") if state.problem.is_final else Mark(Tone.WATCH, "Trying again")
    if at_work is not None:
        return Mark(Tone.BUSY, "Catching up" if at_work.is_catching_up else "Running")
    if state.level is not None and is_late(state):
        return Mark(_TONES[state.level], "Late")
    return Mark(Tone.GOOD, "Good") if state.last_success else Mark(Tone.WATCH, "Never offloaded")


def _lag(state: TableState) -> str:
    if state.lag is None or state.condition is Condition.DISABLED:
        return ""
    return roughly(state.lag) if state.last_success else f"set up {roughly(state.lag)} ago"


def _level(state: TableState) -> Mark | None:
    return Mark(_TONES[state.level], state.level.value) if state.level is not None else None


def _watermark(state: TableState, around: Around) -> Moment | None:
    cursor = state.cursor
    return None if cursor is None or cursor == ORIGIN else moment(cursor.timestamp, around.now)


def _actions(
    table: TableConfig | InvalidTable, state: TableState, addresses: Addresses
) -> Iterator[tuple[Action, str]]:
    if addresses.act is None or isinstance(table, InvalidTable) or not table.enabled:
        return
    if resumable(state):
        yield Action.RESUME, addresses.act(Action.RESUME, state.name)
    if state.condition in (Condition.GOOD, Condition.FAILED):
        yield Action.RUN, addresses.act(Action.RUN, state.name)
    if state.last_success is not None:
        yield Action.VERIFY, addresses.act(Action.VERIFY, state.name)


def _trouble(
    state: TableState, audit: Audited, last: LastRun | None, actions: dict[Action, Named], around: Around
) -> Trouble | None:
    if not state.is_watched:
        return None
    if state.problem is not None:
        # What has failed is not to be explained by a scheduler that has gone to sleep since.
        cause = likely_cause(state, None, around.now)
        title, tone = _title(state, state.problem, around), Tone.BAD if state.problem.is_final else Tone.WATCH
        return Trouble(
            tone=tone,
            title=title,
            finding=state.problem.message,
            remedy=cause.remedy,
            runbook=around.runbook(cause.runbook.value),
            actions=[actions[Action.RESUME]] if Action.RESUME in actions else [],
            log=last.log if last else None,
        )
    if state.level is not None and is_late(state) and not around.is_told:
        cause = likely_cause(state, around.cycles, around.now)
        title = f"{roughly(state.lag)} without an offload" if state.lag else "Late"
        runbook = around.runbook(cause.runbook.value)
        return Trouble(_TONES[state.level], title, cause.finding, cause.remedy, runbook, is_lag=True)
    if audit.differing:
        return Trouble(
            tone=audit.tone,
            title=f"The tiers differ in {count(audit.differing, 'window')}",
            finding=f"The newest audit found {audit.word}: {audit.detail}.",
            remedy=f"`offload audit {state.name}` shows where, and what to do.",
            runbook=around.runbook(Runbook.FAILURE.value),
            is_audit=True,
        )
    return None


def _title(state: TableState, problem: Problem, around: Around) -> str:
    since = f" since {moment(problem.since, around.now).at} UTC" if problem.since else ""
    if state.condition is Condition.HALTED:
        return f"Halted{since}"
    if state.condition is Condition.FAILED:
        return f"Failed {count(problem.attempts, 'time')} in a row" if problem.attempts > 1 else f"Failed{since}"
    return _CONDITIONS[state.condition].word
