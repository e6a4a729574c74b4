"""Builds the page from the data of the ledger and Airflow. Pure functions; the present is PostgreSQL's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby

from offload_core.config.settings import Settings
from offload_core.errors import FixConfiguration, LedgerUnavailable, OffloadError, RetryLater
from offload_core.ledger.cycle_time import newest_cycle
from offload_ops.alerts.cause import Runbook, obstacles
from offload_ops.alerts.model import Cycles
from offload_ops.status_page.context import PageContext
from offload_ops.status_page.model import (
    Addresses,
    DisplayTime,
    Fact,
    IssueView,
    PageUnavailable,
    Severity,
    StatusPage,
    TableRow,
)
from offload_ops.status_page.read import PageData
from offload_ops.status_page.table_row import table_row
from offload_ops.table_state import Condition
from offload_ops.text import ago, amount, clock_seconds, count, duration, rough_duration, runbook_link

_ORDER = {"bronze": 0, "silver": 1, "gold": 2}
_LATE, _DIFFERING, _WRONG = "late", "different from ClickHouse", "wrong in the configuration"
_ISSUES = ("halted", "failing", "not set up", _WRONG, "trying again", _LATE, _DIFFERING)
"""The issues that a table can have, the worst first."""
_HEADLINES = {
    FixConfiguration.kind: "The configuration is wrong",
    RetryLater.kind: "Airflow's database can't be read",
}
"""Why the page is unavailable, if it is not because of the ledger."""
_MOST_NAMES = 2
"""The headline names up to this many tables."""
_LEGEND = (
    "Bars: rows offloaded per half hour. Line below: the lag of each hour, thicker where it was later. "
    "Crosses: failed attempts. All times are UTC."
)


def build_page(data: PageData, settings: Settings, cycles: Cycles | None, addresses: Addresses) -> StatusPage:
    """The page.

    Args:
        data: the content of the ledger.
        settings: the pipeline's.
        cycles: the state of the offload's DAG; None if Airflow can't be queried.
        addresses: what the page links to.
    """
    context = PageContext(data, settings, cycles, addresses)
    notices = tuple(_notices(context))
    context = replace(context, is_explained=bool(notices))
    rows = [table_row(table, state, context) for table, state in zip(data.tables, data.states, strict=True)]
    rows.sort(key=lambda row: _ORDER[row.layer])
    return StatusPage(
        pipeline=settings.pipeline_id,
        severity=_worst(rows, notices),
        headline=_headline(rows, notices),
        notices=notices,
        facts=tuple(_facts(context, rows)),
        layers=[(layer, list(tables)) for layer, tables in groupby(rows, key=lambda row: row.layer)],
        generated_at=_generated_at(data.now),
        may_act=addresses.act is not None,
        legend=_LEGEND,
        dag=addresses.dag,
    )


def page_unavailable(error: OffloadError, settings: Settings | None, now: datetime) -> PageUnavailable:
    """The content shown in place of the page if the ledger or the configuration can't be read."""
    reason = _HEADLINES.get(error.kind, "The ledger can't be read")
    runbook = Runbook.WATERMARK if isinstance(error, LedgerUnavailable) else None
    return PageUnavailable(
        headline=f"{reason}: table status is unknown.",
        problem=error.problem,
        remedy=error.remedy,
        generated_at=_generated_at(now),
        runbook=runbook_link(runbook.value, settings.runbook_url if settings else None) if runbook else None,
    )


def _generated_at(now: datetime) -> DisplayTime:
    return DisplayTime(now, clock_seconds(now), "just now")


def _notices(context: PageContext) -> Iterator[IssueView]:
    """What keeps every table from being offloaded, according to Airflow."""
    if context.cycles is None:
        yield IssueView(
            Severity.WATCH,
            "Airflow's database can't be read",
            "It is unknown whether the scheduler is running and the DAG is switched on.",
            "Check that Airflow's database is up. The tables below are up to date: they come from the ledger.",
        )
        return
    for cause in obstacles(context.cycles):
        yield IssueView(Severity.BAD, cause.title, cause.finding, cause.remedy, context.runbook(cause.runbook))


def _worst(rows: Sequence[TableRow], notices: Sequence[IssueView]) -> Severity:
    issues = [*notices, *(row.issue for row in rows if row.issue)]
    severities = [Severity.GOOD, *(issue.severity for issue in issues)]
    severities += [Severity.WATCH for row in rows if row.badge.severity is Severity.WATCH]
    return max(severities, key=list(Severity).index)


def _headline(rows: Sequence[TableRow], notices: Sequence[IssueView]) -> str:
    watched = [row for row in rows if row.badge.severity is not Severity.OFF]
    if not watched:
        return "No table is switched on."
    obstacle = next((notice for notice in notices if notice.severity is Severity.BAD), None)
    affected = [row for row in watched if row.issue is not None]
    if all(row.badge.word == "Never offloaded" for row in watched):
        summary = "No table has been offloaded yet."
    elif affected:
        verb = "needs" if len(affected) == 1 else "need"
        summary = f"{len(affected)} of {count(len(watched), 'table')} {verb} you: {_affected(affected)}."
    elif obstacle is None:
        summary = f"{_all(len(watched))} on time{_exceptions(watched)}."
    else:
        summary = ""
    return f"{obstacle.title}. {summary}".strip() if obstacle else summary


def _affected(rows: Sequence[TableRow]) -> str:
    """The tables with an issue: by name if they are few, otherwise how many have which issue."""
    if len(rows) <= _MOST_NAMES:
        return ", ".join(f"{row.name} {_predicate(row)}" for row in rows)
    numbers = Counter(_issue(row) for row in rows)
    return ", ".join(f"{numbers[issue]} {issue}" for issue in sorted(numbers, key=_ISSUES.index))


def _predicate(row: TableRow) -> str:
    issue = _issue(row)
    if issue == _LATE:
        return f"is late ({row.level.word})" if row.level else "is late"
    return "differs from ClickHouse" if issue == _DIFFERING else f"is {issue}"


def _issue(row: TableRow) -> str:
    if row.issue and row.issue.is_audit:
        return _DIFFERING
    if row.issue and row.issue.is_lag:
        return _LATE
    return _WRONG if row.state == Condition.WRONG_ENTRY.value else row.badge.word.lower()


def _all(number: int) -> str:
    return "The only table is" if number == 1 else f"All {number} tables are"


def _exceptions(rows: Sequence[TableRow]) -> str:
    texts = {"Catching up": "catching up", "Running": "being offloaded", "Never offloaded": "not offloaded yet"}
    numbers = Counter(row.badge.word for row in rows)
    exceptions = [f"{numbers[word]} {text}" for word, text in texts.items() if numbers[word]]
    return f"; {', '.join(exceptions)}" if exceptions else ""


def _facts(context: PageContext, rows: Sequence[TableRow]) -> Iterator[Fact]:
    late = [state for state in context.data.states if state.level is not None and state.lag is not None]
    if late:
        worst = max(late, key=lambda state: state.lag or timedelta())
        level = next(row.level for row in rows if row.name == worst.name)
        value = rough_duration(worst.lag or timedelta())
        detail = f"{level.word if level else ''}, {worst.name}"
        yield Fact("Longest lag", value, detail, level.severity if level else None)
    numbers = [row.sparkline.rows for row in rows if row.sparkline and row.sparkline.rows]
    yield Fact("Rows in 24 hours", amount(sum(numbers)), f"into {count(len(numbers), 'table')}")
    yield _cycle(context)
    yield from _airflow(context)
    yield _audits(rows)


def _cycle(context: PageContext) -> Fact:
    cycle = newest_cycle(context.data.snapshot.steps, context.data.snapshot.jobs, context.now)
    if cycle is None:
        return Fact("Newest cycle", "none", "in the last hour", Severity.WATCH)
    if cycle.is_running:
        return Fact("Newest cycle", "running", f"for {rough_duration(cycle.duration)}", Severity.BUSY)
    return Fact("Newest cycle", duration(cycle.duration), f"ended {ago(context.now - cycle.at)}")


def _airflow(context: PageContext) -> Iterator[Fact]:
    cycles, dag = context.cycles, context.addresses.dag
    if cycles is None:
        yield Fact("Scheduler", "unknown", "Airflow can't be queried", Severity.WATCH)
        return
    if cycles.heartbeat:
        heartbeat = f"heartbeat {ago(max(context.now - cycles.heartbeat, timedelta()))}"
    else:
        heartbeat = "no heartbeat yet"
    if cycles.scheduler_alive:
        yield Fact("Scheduler", "alive", heartbeat, Severity.GOOD)
    else:
        yield Fact("Scheduler", "not running", heartbeat, Severity.BAD)
    if not cycles.is_known:
        yield Fact("DAG", "unknown", cycles.dag_id, Severity.BAD)
    elif cycles.is_paused:
        yield Fact("DAG", "paused", cycles.dag_id, Severity.BAD, dag)
    else:
        yield Fact("DAG", "on", cycles.dag_id, Severity.GOOD, dag)


def _audits(rows: Sequence[TableRow]) -> Fact:
    audits = [row.audit for row in rows if row.audit.at is not None]
    if not audits:
        return Fact("Audits", "none", "in the last week", Severity.OFF)
    newest = max((audit.at for audit in audits if audit.at), key=lambda at: at.value)
    differing = sum(audit.differing for audit in audits)
    if differing:
        worst = max((audit.severity for audit in audits), key=list(Severity).index)
        return Fact("Audits", count(differing, "window"), f"differing; newest {newest.ago}", worst)
    return Fact("Audits", "equal", f"newest {newest.ago}", Severity.GOOD)
