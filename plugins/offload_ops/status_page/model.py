"""What the page says: all of it is text, figures and addresses, ready to be shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from offload_ops.alerts.message import Link


class Tone(str, Enum):
    """How something is, from harmless to worst; each has a colour and an icon, and stands beside a word."""

    OFF = "off"
    GOOD = "good"
    BUSY = "busy"
    WATCH = "watch"
    BAD = "bad"


class Action(str, Enum):
    """What an operator may do with a table from the page."""

    RUN = "run"
    VERIFY = "verify"
    RESUME = "resume"


@dataclass(frozen=True)
class Addresses:
    """The addresses of what the page links.

    Attributes:
        dag: the offload's DAG.
        run: the page of a run by its id; None where Airflow doesn't know it.
        log: the log of what was done with a table in a run, by run id, table and kind of ledger row; None where Airflow doesn't know it.
        act: the page on which an action with a table is confirmed; None: whoever looks may not act.
    """

    dag: str | None = None
    run: Callable[[str], str | None] = lambda _: None
    log: Callable[[str, str, str], str | None] = lambda _run, _table, _kind: None
    act: Callable[[Action, str], str] | None = None


@dataclass(frozen=True)
class Mark:
    """A state in a word, with its tone."""

    tone: Tone
    word: str


@dataclass(frozen=True)
class Moment:
    """A moment (UTC) and how it is told: `at` in clock time, `ago` beside the present."""

    value: datetime
    at: str
    ago: str

    @property
    def iso(self) -> str:
        """As HTML's `datetime` wants it."""
        return self.value.isoformat(timespec="seconds")


@dataclass(frozen=True)
class Named:
    """An address with what it leads to."""

    text: str
    href: str


@dataclass(frozen=True)
class Trouble:
    """Something that needs a person: what is the matter, what to do, where more is said, and what can be done here.

    Attributes:
        is_lag, is_audit: whether it is about nothing but lateness, or about nothing but a difference that an audit found.
    """

    tone: Tone
    title: str
    finding: str
    remedy: str
    runbook: Link | None = None
    actions: Sequence[Named] = ()
    log: Named | None = None
    is_lag: bool = False
    is_audit: bool = False


@dataclass(frozen=True)
class LastRun:
    """The newest that was recorded of a table.

    Attributes:
        what: what became of it, with its rows.
        seconds: how long it took, in words.
        run, log: the run's page and its task's log.
    """

    tone: Tone
    what: str
    when: Moment
    seconds: str | None
    run: Named | None
    log: Named | None


@dataclass(frozen=True)
class Progress:
    """A job at work.

    Attributes:
        share: how much of its way it has gone, in percent; None where that can't be told.
        text: the same in words.
        is_catching_up: whether it has committed chunks and goes on.
    """

    share: int | None
    text: str
    since: Moment
    chunks: int
    rows: int
    is_catching_up: bool


@dataclass(frozen=True)
class Bar:
    """A span of the day in a sparkline; `x`, `y`, `width` and `height` in its own units."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True)
class Sparkline:
    """A table's last day: rows in bars, lag below them, failed attempts as crosses.

    Attributes:
        summary: all of it in a sentence.
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
class Audited:
    """The verdict of a table's newest audits.

    Attributes:
        differing: windows in which the tiers differ.
    """

    tone: Tone
    word: str
    detail: str
    when: Moment | None
    differing: int = 0


@dataclass(frozen=True)
class TableLine:
    """One table.

    Attributes:
        state: how it is, in the words of `offload status`.
        lag: in words; empty where there is none.
        lag_minutes: as `offload status --json` has it; None before the first success.
        level: of the lag, or of the time since the table was set up; None for a table without a watermark.
        watermark: None while it has none, or the first one, 1970.
        details: more that is known, by name.
    """

    name: str
    layer: str
    mark: Mark
    state: str
    lag: str
    lag_minutes: float | None
    level: Mark | None
    watermark: Moment | None
    failures: int
    last_run: LastRun | None
    progress: Progress | None
    spark: Sparkline | None
    audit: Audited
    trouble: Trouble | None
    actions: Sequence[Named]
    details: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Fact:
    """A figure at the top of the page."""

    label: str
    value: str
    detail: str
    tone: Tone | None = None
    href: str | None = None


@dataclass(frozen=True)
class StatusPage:
    """The page.

    Attributes:
        headline: the state in a sentence.
        notices: what concerns all tables.
        layers: the tables by layer, in their order.
        made: when it was made.
        may_act: whether whoever looks may act.
    """

    pipeline: str
    tone: Tone
    headline: str
    notices: Sequence[Trouble]
    facts: Sequence[Fact]
    layers: Sequence[tuple[str, Sequence[TableLine]]]
    made: Moment
    may_act: bool
    legend: str
    dag: str | None = None

    @property
    def tables(self) -> list[TableLine]:
        """All tables, in their order."""
        return [table for _, tables in self.layers for table in tables]


@dataclass(frozen=True)
class Unreadable:
    """What is shown where the page can't be made: why, and what to do."""

    headline: str
    problem: str
    remedy: str
    made: Moment
    runbook: Link | None = None


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
    """An action to be confirmed.

    Attributes:
        title: what is asked.
        lines: what it means.
        button: what the button that does it says.
        post: where the form goes.
        hidden: fields that the operator doesn't fill in.
        fields: those that the operator does.
        problem: what was wrong with the fields, if they have been sent already.
    """

    title: str
    lines: Sequence[str]
    button: str
    post: str
    back: str
    hidden: Sequence[tuple[str, str]] = ()
    fields: Sequence[Field] = field(default_factory=tuple)
    problem: str | None = None
    tone: Tone = Tone.BUSY


@dataclass(frozen=True)
class Done:
    """What an action led to."""

    text: str
    link: Named | None = None
