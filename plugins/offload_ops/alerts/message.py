"""The text of an alert: subject, HTML mail and plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path

from offload_core.config.lag import LagLevel
from offload_core.errors import ColdRowsLost, HotRowsExpired, LedgerAhead
from offload_ops.alerts.cause import Cause, Runbook
from offload_ops.alerts.changes import AT_RISK, LEVELS
from offload_ops.alerts.model import Change, StateChanges, Topic
from offload_ops.html_mail import render
from offload_ops.table_state import Condition, TableState
from offload_ops.text import (
    NOT_AVAILABLE,
    RunbookLink,
    amount,
    clock,
    duration,
    duration_in_words,
    name_list,
    runbook_link,
)

_MINUTE = timedelta(minutes=1)
_LOST = frozenset(error.kind for error in (ColdRowsLost, HotRowsExpired, LedgerAhead))
"""Kinds of errors that halt a table because rows are missing, or may be."""
_PAGED_LEVELS = frozenset({LagLevel.EMERGENCY.value, AT_RISK})
_REACTIONS = {
    LagLevel.WARNING.value: "Find out why, in business hours.",
    LagLevel.CRITICAL.value: "Act at once: the objective of {objective} is missed.",
    LagLevel.SEVERE.value: "Act at once: catch up by hand.",
    LagLevel.EMERGENCY.value: "Escalate, and catch up by hand.",
    AT_RISK: "Act at once: rows that TTL deletes before they are offloaded are lost.",
}


class Urgency(str, Enum):
    """How fast somebody should act."""

    NORMAL = "normal"
    """In business hours."""
    URGENT = "urgent"
    """At once."""
    PAGE = "page"
    """At once; the message goes to the pager as well."""


@dataclass(frozen=True)
class CauseText:
    """The likely cause of the lag or failure of some tables."""

    tables: str
    finding: str
    remedy: str
    runbook: RunbookLink | None = None


@dataclass(frozen=True)
class TableText:
    """One table in an alert.

    Attributes:
        state: its level of lag, or its condition.
        last_success: when it was last offloaded with success (UTC).
        lag: the time since then; if the alert is over, the longest lag.
        waiting: rows in ClickHouse that are not in Iceberg yet.
    """

    table: str
    state: str
    last_success: str = ""
    lag: str = ""
    waiting: str = ""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A message.

    Attributes:
        pipeline: the pipeline's id.
        at: the time of the message (UTC).
        headline: the issue in a sentence without its full stop.
        urgency: how fast somebody should act; if the alert is over, how fast it was.
        is_over: whether nothing is left to do.
        reaction: what to do first; empty if it is over.
        causes: likely causes, those of most tables first.
        tables: the tables with an issue.
        resolved: the tables whose alert is over.
        others: how many of the other tables are on time.
    """

    pipeline: str
    at: datetime
    headline: str
    urgency: Urgency
    is_over: bool = False
    reaction: str = ""
    causes: Sequence[CauseText] = ()
    tables: Sequence[TableText] = ()
    resolved: Sequence[TableText] = ()
    others: str = ""

    @property
    def is_page(self) -> bool:
        """Whether it goes to the pager as well."""
        return self.urgency is Urgency.PAGE

    @property
    def is_urgent(self) -> bool:
        """Whether somebody should act at once."""
        return self.urgency is not Urgency.NORMAL

    @property
    def subject(self) -> str:
        """The mail's subject."""
        # Only messages about tables have the mark: mail filters may depend on the exact subjects.
        mark = "PAGE: " if self.is_page and self.tables else ""
        return f"[{self.pipeline}] {mark}{self.headline}"

    @property
    def scope(self) -> str:
        """The pipeline and the time."""
        return f"Pipeline {self.pipeline}, {clock(self.at)} UTC"

    def html(self) -> str:
        """The mail as HTML."""
        return render(Path(__file__).parent, "alert.html.j2", title=self.headline, scope=self.scope, alert=self)

    def text(self) -> str:
        """The message as plain text, for Slack and for mail programs that show no HTML."""
        return render(Path(__file__).parent, "alert.txt.j2", alert=self)


@dataclass(frozen=True)
class AlertContext:
    """The pipeline that a message is about.

    Attributes:
        pipeline: its id.
        states: all configured tables.
        runbook_url: the address of the runbooks, if the settings have one.
        now: the present (UTC).
    """

    pipeline: str
    states: Sequence[TableState]
    runbook_url: str | None
    now: datetime


def compose(
    changes: StateChanges, causes: Mapping[str, Cause], waiting: Mapping[str, str], context: AlertContext
) -> Alert:
    """The message about some changes.

    Args:
        changes: what to notify of.
        causes: the likely causes, by table.
        waiting: rows in ClickHouse that are not in Iceberg yet, as text, by table.
        context: the pipeline.
    """
    affected = {change.state.name: change for change in (*changes.issues, *changes.late)}
    resolved = {change.state.name: change for change in changes.over}
    return Alert(
        pipeline=context.pipeline,
        at=context.now,
        headline=_headline(changes),
        urgency=_urgency(changes),
        is_over=changes.is_over,
        reaction=_reaction(changes),
        causes=_causes([change.state.name for change in affected.values()], causes, context),
        tables=[_table(change, waiting.get(name, "unknown")) for name, change in affected.items()],
        resolved=[_resolved_table(change) for change in resolved.values()],
        others=_others([state for state in context.states if state.name not in affected | resolved]),
    )


def ledger_alert(pipeline: str, problem: str, remedy: str, runbook_url: str | None, now: datetime) -> Alert:
    """The message that the ledger can't be reached, so that the state of all tables is unknown."""
    return Alert(
        pipeline=pipeline,
        at=now,
        headline="The ledger can't be reached: nothing is offloaded",
        urgency=Urgency.PAGE,
        reaction="Act at once: while the ledger is unreachable, every table's lag grows and is not measured.",
        causes=[CauseText("All tables", problem, remedy, runbook_link(Runbook.WATERMARK.value, runbook_url))],
    )


def ledger_over(pipeline: str, now: datetime) -> Alert:
    """The message that the ledger can be reached again."""
    headline = "Over: the ledger can be reached again"
    return Alert(pipeline=pipeline, at=now, headline=headline, urgency=Urgency.PAGE, is_over=True)


def job_alert(pipeline: str, dag_id: str, problem: str, now: datetime) -> Alert:
    """The message that a run of another DAG of the package has failed."""
    remedy = f"Read the logs of its failed tasks in Airflow, then clear them in {dag_id}."
    return Alert(
        pipeline=pipeline,
        at=now,
        headline=f"A run of {dag_id} has failed",
        urgency=Urgency.NORMAL,
        reaction="Check it today; the offload itself continues.",
        causes=[CauseText("This run", problem, remedy)],
    )


def _headline(changes: StateChanges) -> str:
    halted = [change for change in changes.issues if change.state.condition is Condition.HALTED]
    lost = [change for change in halted if change.state.issue and change.state.issue.kind in _LOST]
    if lost:
        return f"Data loss: {_subject(lost)} halted"
    if halted:
        return f"{_subject(halted)} halted"
    if changes.late:
        level = _worst(changes)
        late = [change for change in changes.late if change.key == level and not change.is_upcoming]
        return f"{level}: {_subject(late)} {_how_late(late[0])}"
    if changes.issues:
        kinds = sorted({change.state.issue.kind for change in changes.issues if change.state.issue})
        return f"The offload of {_names(changes.issues)} failed ({', '.join(kinds)})"
    resolved = {change.state.name: change for change in changes.over}
    return f"Over: {_subject(list(resolved.values()))} offloaded again"


def _urgency(changes: StateChanges) -> Urgency:
    is_page = (
        any(change.state.condition is Condition.HALTED for change in changes.issues)
        or any(change.key in _PAGED_LEVELS for change in changes.late)
        # The end of a page goes to the pager too.
        or any(change.before.level in _PAGED_LEVELS or change.before.has_halt for change in changes.over)
    )
    if is_page:
        return Urgency.PAGE
    is_urgent = any(change.key != LagLevel.WARNING.value for change in changes.late)
    return Urgency.URGENT if is_urgent else Urgency.NORMAL


def _reaction(changes: StateChanges) -> str:
    if any(change.state.condition is Condition.HALTED for change in changes.issues):
        return "Act at once: a halted table is not offloaded until an operator resumes it."
    if changes.late:
        objective = duration_in_words(changes.late[0].state.bounds.bound(LagLevel.CRITICAL))
        return _REACTIONS[_worst(changes)].format(objective=objective)
    return "Find out why; the next cycle tries again by itself." if changes.issues else ""


def _how_late(change: Change) -> str:
    """The bound that a table has crossed."""
    if change.key == AT_RISK:
        return "more than 20 hours late: ClickHouse may soon delete rows that are not in Iceberg"
    return f"more than {duration_in_words(change.state.bounds.bound(LagLevel(change.key)))} late"


def _worst(changes: StateChanges) -> str:
    # A table that is only about to cross a level does not make the headline.
    return max((change.key for change in changes.late if not change.is_upcoming), key=LEVELS.index)


def _causes(names: Sequence[str], causes: Mapping[str, Cause], context: AlertContext) -> list[CauseText]:
    watched = sum(state.is_watched for state in context.states)
    tables: dict[Cause, list[str]] = {}
    for name in names:
        tables.setdefault(causes[name], []).append(name)
    return [
        CauseText(
            "All tables" if len(names) == watched > 1 else name_list(names),
            cause.finding,
            cause.remedy,
            runbook_link(cause.runbook.value, context.runbook_url),
        )
        for cause, names in sorted(tables.items(), key=lambda entry: -len(entry[1]))
    ]


def _table(change: Change, waiting: str) -> TableText:
    state, success = change.state, change.state.last_success
    shown = change.key if change.topic is Topic.LAG else "failed"
    if state.condition is Condition.HALTED:
        shown = "halted"
    return TableText(
        table=state.name,
        state=f"soon {shown}" if change.is_upcoming else shown,
        last_success=clock(success) if success else "never",
        lag=_minutes(state.lag) if state.lag is not None else NOT_AVAILABLE,
        waiting=waiting,
    )


def _resolved_table(change: Change) -> TableText:
    before, success = change.before, change.state.last_success
    if not change.state.is_watched:
        return TableText(change.state.name, "switched off")
    return TableText(
        table=change.state.name,
        state=before.level or ("halted" if before.has_halt else "failed"),
        last_success=clock(success) if success else "",
        lag=_minutes(success - before.late_since) if success and before.late_since else NOT_AVAILABLE,
    )


def _minutes(value: timedelta) -> str:
    """A duration to the minute."""
    return duration(value - value % _MINUTE) if value >= _MINUTE else "less than a minute"


def _others(states: Sequence[TableState]) -> str:
    watched = [state for state in states if state.is_watched]
    if not watched:
        return ""
    late = [state.name for state in watched if not _is_on_time(state)]
    number = len(watched) - len(late)
    summary = f"Of the other tables, {amount(number)} {'is' if number == 1 else 'are'} on time."
    return f"{summary} Reported earlier and not over yet: {name_list(late)}." if late else summary


def _is_on_time(state: TableState) -> bool:
    return state.condition is Condition.OK and (state.level is None or state.level.value not in LEVELS)


def _names(changes: Sequence[Change]) -> str:
    return changes[0].state.name if len(changes) == 1 else f"{len(changes)} tables"


def _subject(changes: Sequence[Change]) -> str:
    """The tables as the subject of a sentence, with its verb."""
    return f"{_names(changes)} {'is' if len(changes) == 1 else 'are'}"
