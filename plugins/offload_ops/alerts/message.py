"""An alert in words: subject, mail page and plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from offload_core.config.lag import LagLevel
from offload_core.errors import ColdRowsLost, HotRowsExpired, LedgerAhead
from offload_ops.alerts.cause import Cause
from offload_ops.alerts.changes import AT_RISK, LEVELS
from offload_ops.alerts.model import Item, News, Topic
from offload_ops.html_mail import render
from offload_ops.table_state import Condition, TableState
from offload_ops.text import amount, clock, duration, in_words, listed

_MINUTE = timedelta(minutes=1)
_LOST = frozenset(error.kind for error in (ColdRowsLost, HotRowsExpired, LedgerAhead))
"""Kinds of halts behind which rows are missing, or may be."""
_AT_ONCE = frozenset({LagLevel.EMERGENCY.value, AT_RISK})
_REACTIONS = {
    LagLevel.WARNING.value: "Find out why, in business hours.",
    LagLevel.CRITICAL.value: "Act at once: the objective of {objective} is missed.",
    LagLevel.SEVERE.value: "Act at once; have it caught up by hand.",
    LagLevel.EMERGENCY.value: "Escalate, and have it caught up.",
    AT_RISK: "Act at once: what TTL takes before it is offloaded is lost.",
}


@dataclass(frozen=True)
class Link:
    """A runbook: its file name, and its address where the settings know one."""

    name: str
    address: str | None

    def __str__(self) -> str:
        return self.address or f"docs/runbooks/{self.name}"


@dataclass(frozen=True)
class Why:
    """A likely cause of several tables' lateness."""

    tables: str
    finding: str
    remedy: str
    runbook: Link


@dataclass(frozen=True)
class Line:
    """One table in an alert: all of it is text."""

    table: str
    state: str
    since: str
    missed: str
    waiting: str


@dataclass(frozen=True)
class Alert:
    """A message.

    Attributes:
        headline: what is the matter, in a sentence without its full stop.
        subject: the mail's subject.
        reaction: how fast somebody should act; empty if it is over.
        is_page: whether it goes to those who are paged as well.
        is_urgent: whether it can't wait.
        is_over: whether there is nothing left to do.
        why: likely causes, those of most tables first.
        late, over: the tables.
        others: how the other tables do.
    """

    headline: str
    subject: str
    reaction: str
    is_page: bool
    is_urgent: bool
    is_over: bool
    scope: str
    why: Sequence[Why]
    late: Sequence[Line]
    over: Sequence[Line]
    others: str

    def html(self) -> str:
        """The mail's page."""
        return render(Path(__file__).parent, "alert.html.j2", title=self.headline, scope=self.scope, alert=self)

    def text(self) -> str:
        """The same for programs that show no HTML, and for Slack."""
        return render(Path(__file__).parent, "alert.txt.j2", alert=self)


def compose(
    pipeline: str,
    news: News,
    states: Sequence[TableState],
    causes: Mapping[str, Cause],
    waiting: Mapping[str, str],
    runbook_url: str | None,
    now: datetime,
) -> Alert:
    """The message about these news.

    Args:
        pipeline: the pipeline's id.
        news: what is to be told.
        states: all configured tables.
        causes: the likely causes of those that are late or fail, by table.
        waiting: their rows in ClickHouse that are not in Iceberg yet, in words, by table.
        runbook_url: where the runbooks can be read.
        now: the present (UTC).
    """
    told = {item.state.name: item for item in (*news.problems, *news.late)}
    headline = _headline(news)
    is_page = _is_page(news)
    mark = "PAGE: " if is_page and not _is_over(news) else ""
    return Alert(
        headline=headline,
        subject=f"[{pipeline}] {mark}{headline}",
        reaction=_reaction(news),
        is_page=is_page,
        is_urgent=is_page or any(item.told != LagLevel.WARNING.value for item in news.late),
        is_over=_is_over(news),
        scope=f"Pipeline {pipeline}, {clock(now)} UTC",
        why=_why(list(told.values()), causes, runbook_url, sum(state.is_watched for state in states)),
        late=[_late_line(item, waiting.get(item.state.name, "unknown")) for item in told.values()],
        over=[_over_line(item) for item in _one_per_table(news.over)],
        others=_others(states, told, {item.state.name for item in news.over}),
    )


def ledger_alert(pipeline: str, problem: str, remedy: str, runbook_url: str | None, now: datetime) -> Alert:
    """The message that the ledger can't be reached, so that nothing can be said of any table."""
    headline = "The ledger can't be reached: nothing is offloaded"
    runbook = runbook_link("iceberg-offload-watermark-recovery.md", runbook_url)
    return Alert(
        headline=headline,
        subject=f"[{pipeline}] {headline}",
        reaction="Act at once: while the ledger is away, every table's lag grows and can't be told.",
        is_page=True,
        is_urgent=True,
        is_over=False,
        scope=f"Pipeline {pipeline}, {clock(now)} UTC",
        why=[Why("All tables", problem, remedy, runbook)],
        late=[],
        over=[],
        others="",
    )


def ledger_over(pipeline: str, now: datetime) -> Alert:
    """The message that the ledger can be reached again."""
    headline = "Over: the ledger can be reached again"
    scope = f"Pipeline {pipeline}, {clock(now)} UTC"
    return Alert(headline, f"[{pipeline}] {headline}", "", True, False, True, scope, [], [], [], "")


def job_alert(pipeline: str, dag_id: str, problem: str, now: datetime) -> Alert:
    """The message that a run of another DAG of the package has failed."""
    headline = f"A run of {dag_id} has failed"
    remedy = f"See the logs of its failed tasks in Airflow, then clear them in {dag_id}."
    return Alert(
        headline=headline,
        subject=f"[{pipeline}] {headline}",
        reaction="Look at it today; the offload itself goes on.",
        is_page=False,
        is_urgent=False,
        is_over=False,
        scope=f"Pipeline {pipeline}, {clock(now)} UTC",
        why=[Why("This run", problem, remedy, Link("", None))],
        late=[],
        over=[],
        others="",
    )


def _headline(news: News) -> str:
    halted = [item for item in news.problems if item.state.condition is Condition.HALTED]
    lost = [item for item in halted if item.state.problem and item.state.problem.kind in _LOST]
    if lost:
        return f"Data loss: {_names(lost)} {_are(lost)} halted"
    if halted:
        return f"{_names(halted)} {_are(halted)} halted"
    if news.late:
        level = _worst(news)
        late = [item for item in news.late if item.told == level and not item.is_ahead]
        return f"{level}: {_names(late)} {_are(late)} {_how_late(late[0])}"
    if news.problems:
        kinds = sorted({item.state.problem.kind for item in news.problems if item.state.problem})
        return f"The offload of {_names(news.problems)} failed ({', '.join(kinds)})"
    tables = _one_per_table(news.over)
    return f"Over: {_names(tables)} {_are(tables)} offloaded again"


def _reaction(news: News) -> str:
    if any(item.state.condition is Condition.HALTED for item in news.problems):
        return "Act at once: nothing of it is offloaded until somebody says so."
    if news.late:
        objective = in_words(news.late[0].state.bounds.bound(LagLevel.CRITICAL))
        return _REACTIONS[_worst(news)].format(objective=objective)
    return "See why; the next cycle tries again by itself." if news.problems else ""


def _how_late(item: Item) -> str:
    """The bound that a table has crossed, in words."""
    if item.told == AT_RISK:
        return "more than 20 hours late: ClickHouse may soon delete rows that are not in Iceberg"
    return f"more than {in_words(item.state.bounds.bound(LagLevel(item.told)))} late"


def _worst(news: News) -> str:
    # What is only on the point of crossing a level is not the headline.
    return max((item.told for item in news.late if not item.is_ahead), key=LEVELS.index)


def _is_over(news: News) -> bool:
    return not news.late and not news.problems


def _is_page(news: News) -> bool:
    """Halted tables, and the worst levels; and that those are over."""
    return (
        any(item.state.condition is Condition.HALTED for item in news.problems)
        or any(item.told in _AT_ONCE for item in news.late)
        or any(
            item.before.level in _AT_ONCE or any(key.startswith("halted ") for key in item.before.problems)
            for item in news.over
        )
    )


def _why(items: Sequence[Item], causes: Mapping[str, Cause], runbook_url: str | None, watched: int) -> list[Why]:
    tables: dict[Cause, list[str]] = {}
    for item in items:
        tables.setdefault(causes[item.state.name], []).append(item.state.name)
    return [
        Why(
            "All tables" if len(names) == watched > 1 else listed(names),
            cause.finding,
            cause.remedy,
            runbook_link(cause.runbook.value, runbook_url),
        )
        for cause, names in sorted(tables.items(), key=lambda entry: -len(entry[1]))
    ]


def runbook_link(name: str, runbook_url: str | None) -> Link:
    """A runbook, with its address below the one that the settings have for all of them."""
    return Link(name, f"{runbook_url.rstrip('/')}/{name}" if runbook_url else None)


def _late_line(item: Item, waiting: str) -> Line:
    state = item.state
    halted = state.condition is Condition.HALTED
    what = "halted" if halted else item.told if item.topic is Topic.LAG else "failed"
    if item.is_ahead:
        what = f"soon {what}"
    success = state.last_success
    return Line(
        table=state.name,
        state=what,
        since=clock(success) if success else "never yet",
        missed=_minutes(state.lag) if state.lag is not None else "n/a",
        waiting=waiting,
    )


def _over_line(item: Item) -> Line:
    before, success = item.before, item.state.last_success
    if not item.state.is_watched:
        return Line(item.state.name, "switched off", "", "", "")
    began = before.late_since
    return Line(
        table=item.state.name,
        state=before.level or ("halted" if any(key.startswith("halted ") for key in before.problems) else "failed"),
        since=clock(success) if success else "",
        missed=_minutes(success - began) if success and began else "n/a",
        waiting="",
    )


def _minutes(value: timedelta) -> str:
    """A duration to the minute."""
    return duration(value - value % _MINUTE) if value >= _MINUTE else "less than a minute"


def _others(states: Sequence[TableState], told: Mapping[str, Item], over: set[str]) -> str:
    rest = [state for state in states if state.is_watched and state.name not in told and state.name not in over]
    bad = [
        state
        for state in rest
        if state.condition is not Condition.GOOD or (state.level and state.level.value in LEVELS)
    ]
    if not rest:
        return ""
    words = [
        f"Of the other tables, {amount(len(rest) - len(bad))} {'is' if len(rest) - len(bad) == 1 else 'are'} in time"
    ]
    if bad:
        words.append(f"and still told of earlier: {listed([state.name for state in bad])}")
    return f"{' '.join(words)}."


def _one_per_table(items: Sequence[Item]) -> list[Item]:
    return list({item.state.name: item for item in items}.values())


def _names(items: Sequence[Item]) -> str:
    names = [item.state.name for item in items]
    return names[0] if len(names) == 1 else f"{len(names)} tables"


def _are(items: Sequence[Item]) -> str:
    return "is" if len(items) == 1 else "are"
