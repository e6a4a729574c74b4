"""What has changed since the last notification. Pure functions; the present is an argument.

- Lag: one message at each level from Warning on, and one when it is over.
- Issues: one message per table and kind of error, after the last attempt. A server that is down is reported once, not
  once per table.
- A halted table is reported as halted. Its lag is no longer reported, unless its rows may soon expire.
- An alert is over when the table has been offloaded since. While a cycle is running, this waits for the other tables,
  so that one message reports all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from offload_core.config.lag import LagLevel
from offload_core.errors import (
    CatalogUnavailable,
    ClickHouseUnavailable,
    FixCredentials,
    FreeDiskSpace,
    LedgerUnavailable,
)
from offload_core.ledger.alert_log import OVER
from offload_core.ledger.rows import StepKind
from offload_ops.alerts.model import Change, NotificationState, NotificationStates, StateChanges, Topic
from offload_ops.table_state import Condition, Issue, TableState

AT_RISK = "Rows at risk"
"""The level above all others: the lag approaches 24 hours, after which ClickHouse's TTL may delete rows."""
RISK_AFTER = timedelta(hours=20)
"""This leaves four hours to act."""
LEVELS = (
    LagLevel.WARNING.value,
    LagLevel.CRITICAL.value,
    LagLevel.SEVERE.value,
    LagLevel.EMERGENCY.value,
    AT_RISK,
)
"""The levels that are reported. Every healthy table passes through the levels below before its cycle ends."""
_SHARED_SERVERS = frozenset(
    error.kind
    for error in (ClickHouseUnavailable, LedgerUnavailable, CatalogUnavailable, FreeDiskSpace, FixCredentials)
)
"""Kinds of errors that concern a server which all tables need."""
_NOTHING = NotificationState()


def state_changes(
    states: Sequence[TableState],
    notified: NotificationStates,
    now: datetime,
    *,
    is_running: bool,
    failed: Mapping[str, Issue] | None = None,
) -> StateChanges:
    """What one channel has to be notified of.

    Args:
        states: the configured tables.
        notified: what the channel has been sent.
        now: the present (UTC).
        is_running: whether a cycle is running.
        failed: issues of tables whose task has just failed for good, by name; the ledger may not have them yet.
    """
    watched = [state for state in states if state.is_watched]
    late = _late(watched, notified, now)
    issues = list(_issues(watched, notified, failed or {}))
    affected = {change.state.name for change in (*late, *issues)}
    over = [
        Change(state, topic, OVER, notified[state.name])
        for state in states
        if state.name not in affected and _is_over(state, notified.get(state.name, _NOTHING))
        for topic in _open_topics(notified[state.name])
    ]
    finished = {change.state.name for change in over}
    waiting = [
        state
        for state in watched
        if state.condition is not Condition.HALTED
        and state.name not in finished
        and (notified.get(state.name, _NOTHING).is_open or state.name in affected)
    ]
    return StateChanges(late, issues, [] if is_running and waiting else over)


def level_of(state: TableState, now: datetime) -> str | None:
    """The level of a table's lag to report; None below Warning. A resumed table gets the time that a cycle needs."""
    if state.lag is None:
        return None
    value = state.lag
    if value >= RISK_AFTER:
        return AT_RISK
    if state.row is not None and state.row.kind is StepKind.RESUME:
        value = min(value, max(now - state.row.created_at, timedelta()))
    level = state.bounds.level(value).value
    return level if level in LEVELS else None


def issue_key(state: TableState, issue: Issue) -> str:
    """The key by which the log of notifications records an issue."""
    return f"{'halted' if state.condition is Condition.HALTED else 'failed'} {issue.kind}"


def _late(watched: Sequence[TableState], notified: NotificationStates, now: datetime) -> list[Change]:
    changes = [change for state in watched for change in _crossing(state, notified, level_of(state, now))]
    levels = {change.key for change in changes}
    names = {change.state.name for change in changes}
    for state in watched:
        if changes and state.name not in names and state.lag is not None:
            soon = _soon(state)
            upcoming = level_of(replace(state, lag=state.lag + soon), now + soon)
            if upcoming in levels:
                changes += _crossing(state, notified, upcoming, is_upcoming=True)
    return changes


def _crossing(
    state: TableState, notified: NotificationStates, level: str | None, *, is_upcoming: bool = False
) -> Iterator[Change]:
    before = notified.get(state.name, _NOTHING)
    if level is None or level == before.level:
        return
    if state.condition is Condition.HALTED and level != AT_RISK:
        return
    # A level below the reported one is new only if the table has been offloaded since and is late again.
    # Otherwise the higher level was reported early, together with that of other tables.
    if _rank(level) < _rank(before.level) and not _offloaded_since(state, before):
        return
    yield Change(state, Topic.LAG, level, before, is_upcoming=is_upcoming)


def _issues(
    watched: Sequence[TableState], notified: NotificationStates, failed: Mapping[str, Issue]
) -> Iterator[Change]:
    known = {key for sent in notified.values() for key in sent.issues}
    for state in watched:
        issue = _final(state, failed.get(state.name))
        if issue is None:
            continue
        key, before = issue_key(state, issue), notified.get(state.name, _NOTHING)
        if key not in before.issues:
            is_known = issue.kind in _SHARED_SERVERS and key in known
            yield Change(_with(state, issue), Topic.ISSUE, key, before, needs_message=not is_known)


def _final(state: TableState, failed: Issue | None) -> Issue | None:
    recorded = state.issue
    if state.condition is Condition.FAILED and recorded is not None and not recorded.is_final:
        return recorded if failed else None
    return recorded or failed


def _with(state: TableState, issue: Issue) -> TableState:
    if state.issue is issue:
        return state
    return replace(state, condition=Condition.FAILED, issue=issue)


def _is_over(state: TableState, sent: NotificationState) -> bool:
    if not sent.is_open:
        return False
    return not state.is_watched or (state.condition is Condition.OK and _offloaded_since(state, sent))


def _offloaded_since(state: TableState, sent: NotificationState) -> bool:
    success = state.last_success
    return success is not None and (sent.notified_at is None or success > sent.notified_at)


def _open_topics(sent: NotificationState) -> Iterator[Topic]:
    if sent.level is not None:
        yield Topic.LAG
    if sent.issues:
        yield Topic.ISSUE


def _rank(level: str | None) -> int:
    return -1 if level is None else LEVELS.index(level)


def _soon(state: TableState) -> timedelta:
    """Tables that will reach a level this soon are reported with the first one: 3 minutes of 15.

    The tables of one cycle end minutes apart.
    """
    return state.bounds.bound(LagLevel.ELEVATED) / 5
