"""The content of the page: texts, figures and links, ready to be shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from offload_ops.text import RunbookLink, ago, clock, time_of_day


class Severity(str, Enum):
    """How serious something is, from harmless to worst. Each has a color and an icon, and stands beside a word."""

    OFF = "off"
    GOOD = "good"
    BUSY = "busy"
    WATCH = "watch"
    BAD = "bad"


class Action(str, Enum):
    """What an operator can do with a table from the page."""

    RUN = "run"
    VERIFY = "verify"
    RESUME = "resume"


@dataclass(frozen=True)
class Addresses:
    """The addresses that the page links to.

    Attributes:
        dag: the offload's DAG.
        run: the page of a run by its id; None if Airflow doesn't know the run.
        log: the log of what a run did with a table, by run id, table and kind of ledger row; None if there is no log.
        act: the page that confirms an action with a table; None if the reader may not act.
    """

    dag: str | None = None
    run: Callable[[str], str | None] = lambda _: None
    log: Callable[[str, str, str], str | None] = lambda _run, _table, _kind: None
    act: Callable[[Action, str], str] | None = None


@dataclass(frozen=True)
class Badge:
    """A state in a word, with its severity."""

    severity: Severity
    word: str


@dataclass(frozen=True)
class DisplayTime:
    """A moment (UTC) as the page shows it: `text` is its clock time, `ago` its distance from the present."""

    value: datetime
    text: str
    ago: str

    @classmethod
    def relative_to(cls, now: datetime, value: datetime) -> DisplayTime:
        """A moment beside the present (UTC); the date is left out if it is today's."""
        return cls(value, time_of_day(value) if value.date() == now.date() else clock(value), ago(now - value))

    @property
    def iso(self) -> str:
        """The moment in the form that HTML's `datetime` needs."""
        return self.value.isoformat(timespec="seconds")

    def __str__(self) -> str:
        return f"{self.text} UTC, {self.ago}"


@dataclass(frozen=True)
class LabeledLink:
    """An address and the text that leads to it."""

    text: str
    href: str


@dataclass(frozen=True)
class IssueView:
    """Something that needs a person: what is wrong, what to do, where to read more, and what can be done here.

    Attributes:
        is_lag: whether the only issue is that the table is late.
        is_audit: whether the only issue is that an audit found a difference.
    """

    severity: Severity
    title: str
    finding: str
    remedy: str
    runbook: RunbookLink | None = None
    actions: Sequence[LabeledLink] = ()
    log: LabeledLink | None = None
    is_lag: bool = False
    is_audit: bool = False


@dataclass(frozen=True)
class LastRun:
    """The newest ledger row of a table.

    Attributes:
        outcome: its result, with its rows.
        duration: how long it took.
        run, log: the run's page and its task's log.
    """

    severity: Severity
    outcome: str
    at: DisplayTime
    duration: str | None
    run: LabeledLink | None
    log: LabeledLink | None


@dataclass(frozen=True)
class JobProgress:
    """A job at work.

    Attributes:
        percent: how much of the way to the present it has read; None if unknown.
        text: the progress in words.
        is_catching_up: whether it has committed chunks and continues.
    """

    percent: int | None
    text: str
    since: DisplayTime
    chunks: int = 0
    rows: int = 0
    is_catching_up: bool = False


@dataclass(frozen=True)
class Bar:
    """A span of the day in a sparkline; `x`, `y`, `width` and `height` are in the sparkline's own units."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True)
class Sparkline:
    """The last 24 hours of a table: rows as bars, lag below them, failed attempts as crosses.

    Attributes:
        summary: the whole picture in a sentence.
        rows: rows offloaded in that time.
    """

    width: int
    height: int
    bars: Sequence[Bar]
    lags: Sequence[Bar]
    crosses: Sequence[Bar]
    summary: str
    rows: int


@dataclass(frozen=True)
class AuditSummary:
    """The result of a table's newest audits.

    Attributes:
        differing: windows in which the tiers differ.
    """

    severity: Severity
    verdict: str
    detail: str
    at: DisplayTime | None
    differing: int = 0


@dataclass(frozen=True)
class TableRow:
    """One table.

    Attributes:
        state: its state in the words of `offload status`.
        lag: its lag as text; empty without one.
        lag_minutes: its lag as `offload status --json` shows it; None before the first success.
        level: of the lag, or of the time since the table was set up; None for a table without a watermark.
        watermark: None while the table has none, or only the initial one, 1970.
        details: more facts about it, by name.
    """

    name: str
    layer: str
    badge: Badge
    state: str
    lag: str
    lag_minutes: float | None
    level: Badge | None
    watermark: DisplayTime | None
    failures: int
    last_run: LastRun | None
    progress: JobProgress | None
    sparkline: Sparkline | None
    audit: AuditSummary
    issue: IssueView | None
    actions: Sequence[LabeledLink]
    details: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Fact:
    """A figure at the top of the page."""

    label: str
    value: str
    detail: str
    severity: Severity | None = None
    href: str | None = None


@dataclass(frozen=True)
class StatusPage:
    """The page.

    Attributes:
        headline: the state in a sentence.
        notices: issues that concern all tables.
        layers: the tables by layer, in their order.
        may_act: whether the reader may act.
    """

    pipeline: str
    severity: Severity
    headline: str
    notices: Sequence[IssueView]
    facts: Sequence[Fact]
    layers: Sequence[tuple[str, Sequence[TableRow]]]
    generated_at: DisplayTime
    may_act: bool
    legend: str
    dag: str | None = None

    @property
    def tables(self) -> list[TableRow]:
        """All tables, in their order."""
        return [table for _, tables in self.layers for table in tables]


@dataclass(frozen=True)
class PageUnavailable:
    """Shown in place of the page if it cannot be built: the reason, and what to do."""

    headline: str
    problem: str
    remedy: str
    generated_at: DisplayTime
    runbook: RunbookLink | None = None


@dataclass(frozen=True)
class Field:
    """A field of a form; `kind` is HTML's input type."""

    name: str
    label: str
    kind: str
    value: str
    hint: str = ""


@dataclass(frozen=True)
class Question:
    """The form that confirms an action.

    Attributes:
        lines: what the action means.
        button: the text of the button that confirms it.
        post: the address that the form is sent to.
        back: the address of the page.
        hidden: fields that the operator doesn't fill in.
        fields: fields that the operator fills in.
        problem: what was wrong with the fields, if they were sent before.
    """

    title: str
    lines: Sequence[str]
    button: str
    post: str
    back: str
    hidden: Sequence[tuple[str, str]] = ()
    fields: Sequence[Field] = field(default_factory=tuple)
    problem: str | None = None


@dataclass(frozen=True)
class ActionDone:
    """The result of an action."""

    text: str
    link: LabeledLink | None = None
