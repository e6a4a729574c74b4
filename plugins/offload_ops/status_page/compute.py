"""The whole page, of what the ledger and Airflow say. Pure functions; the present is the ledger's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby

from offload_core.config.lag import LagMinutes
from offload_core.config.settings import Settings
from offload_core.errors import FixConfiguration, LedgerUnavailable, OffloadError, RetryLater
from offload_core.ledger.cycle_time import newest_cycle
from offload_ops.alerts.cause import Runbook, likely_cause
from offload_ops.alerts.message import runbook_link
from offload_ops.alerts.model import Cycles
from offload_ops.status_page.context import Around
from offload_ops.status_page.lines import table_line
from offload_ops.status_page.model import Addresses, Fact, Moment, StatusPage, TableLine, Tone, Trouble, Unreadable
from offload_ops.status_page.read import Known
from offload_ops.status_page.timestamps import ago, count, roughly
from offload_ops.table_state import Condition, TableState
from offload_ops.text import amount, duration

_ORDER = {"bronze": 0, "silver": 1, "gold": 2}
_LATE, _DIFFERING, _WRONG = "late", "different from ClickHouse", "wrong in the configuration"
_KINDS = ("halted", "failing", "not set up", _WRONG, "trying again", _LATE, _DIFFERING)
"""What may ail a table, the worst first."""
_HEADLINES = {
    FixConfiguration.kind: "The configuration is wrong",
    RetryLater.kind: "Airflow's database can't be read",
}
"""Why the page can't be made, where it is not the ledger."""
_FEW = 2
"""Up to so many tables, the headline names them."""
_LEGEND = (
    "Bars: rows offloaded per half hour. Line below: the lag of each hour, thicker where it was later. "
    "Crosses: failed attempts. All times are UTC."
)


def page(known: Known, settings: Settings, cycles: Cycles | None, addresses: Addresses) -> StatusPage:
    """The page.

    Args:
        known: what the ledger says.
        settings: the pipeline's.
        cycles: how the offload's DAG does; None where Airflow can't be asked.
        addresses: what the page links.
    """
    around = Around(known, settings, cycles, addresses)
    notices = tuple(_notices(around))
    around = replace(around, is_told=bool(notices))
    lines = [table_line(table, state, around) for table, state in zip(known.tables, known.states, strict=True)]
    lines.sort(key=lambda line: _ORDER[line.layer])
    return StatusPage(
        pipeline=settings.pipeline_id,
        tone=_worst(lines, notices),
        headline=_headline(lines, notices),
        notices=notices,
        facts=tuple(_facts(around, lines)),
        layers=[(layer, list(tables)) for layer, tables in groupby(lines, key=lambda line: line.layer)],
        made=_made(known.now),
        may_act=addresses.act is not None,
        legend=_LEGEND,
        dag=addresses.dag,
    )


def unreadable(error: OffloadError, settings: Settings | None, now: datetime) -> Unreadable:
    """What is shown instead where the ledger or the configuration can't be read."""
    headline = _HEADLINES.get(error.kind, "The ledger can't be read")
    runbook = Runbook.WATERMARK if isinstance(error, LedgerUnavailable) else None
    return Unreadable(
        headline=f"{headline}: how the tables are can't be told.",
        problem=error.problem,
        remedy=error.remedy,
        made=_made(now),
        runbook=runbook_link(runbook.value, settings.runbook_url if settings else None) if runbook else None,
    )


def _made(now: datetime) -> Moment:
    return Moment(now, f"{now:%Y-%m-%d %H:%M:%S}", "just now")


def _notices(around: Around) -> Iterator[Trouble]:
    """What keeps every table from being offloaded, by Airflow's word."""
    cycles = around.cycles
    if cycles is None:
        yield Trouble(
            Tone.WATCH,
            "Airflow's database can't be asked",
            "Whether its scheduler lives and the DAG is switched on is not known.",
            "See that Airflow's database is up; the ledger below was read all the same.",
        )
        return
    nothing = TableState("any", Condition.GOOD, LagMinutes())
    # One thing in the way hides the next one: each is looked for with those before it mended.
    looks = (
        (not cycles.scheduler_alive, "Nothing is offloaded: no scheduler", replace(cycles, import_errors=[])),
        (bool(cycles.import_errors), "The DAG can't be imported", replace(cycles, scheduler_alive=True)),
        (not cycles.is_known, "Airflow doesn't know the DAG", replace(cycles, scheduler_alive=True, import_errors=[])),
        (
            cycles.is_known and cycles.is_paused,
            "Nothing is offloaded: the DAG is paused",
            replace(cycles, scheduler_alive=True, import_errors=[]),
        ),
    )
    for is_so, title, alone in looks:
        if is_so:
            cause = likely_cause(nothing, alone, around.now)
            yield Trouble(Tone.BAD, title, cause.finding, cause.remedy, around.runbook(cause.runbook.value))


def _worst(lines: Sequence[TableLine], notices: Sequence[Trouble]) -> Tone:
    order = list(Tone)
    tones = [Tone.GOOD, *(notice.tone for notice in notices), *(line.trouble.tone for line in lines if line.trouble)]
    tones += [Tone.WATCH for line in lines if line.mark.tone is Tone.WATCH]
    return max(tones, key=order.index)


def _headline(lines: Sequence[TableLine], notices: Sequence[Trouble]) -> str:
    watched = [line for line in lines if line.mark.tone is not Tone.OFF]
    if not watched:
        return "No table is switched on."
    stopping = next((notice for notice in notices if notice.tone is Tone.BAD), None)
    troubled = [line for line in watched if line.trouble is not None]
    if all(line.mark.word == "Never offloaded" for line in watched):
        told = "No table has been offloaded yet."
    elif troubled:
        verb = "needs" if len(troubled) == 1 else "need"
        told = f"{len(troubled)} of {count(len(watched), 'table')} {verb} you: {_named(troubled)}."
    elif stopping is None:
        told = f"{_all(len(watched))} on time{_besides(watched)}."
    else:
        told = ""
    return f"{stopping.title}. {told}".strip() if stopping else told


def _named(troubled: Sequence[TableLine]) -> str:
    """Who needs somebody: by name where they are few, else how many by what ails them."""
    if len(troubled) <= _FEW:
        return ", ".join(f"{line.name} {_verdict(line)}" for line in troubled)
    kinds = Counter(_kind(line) for line in troubled)
    return ", ".join(f"{kinds[kind]} {kind}" for kind in sorted(kinds, key=_KINDS.index))


def _verdict(line: TableLine) -> str:
    kind = _kind(line)
    if kind == _LATE:
        return f"is late ({line.level.word})" if line.level else "is late"
    return "differs from ClickHouse" if kind == _DIFFERING else f"is {kind}"


def _kind(line: TableLine) -> str:
    if line.trouble and line.trouble.is_audit:
        return _DIFFERING
    if line.trouble and line.trouble.is_lag:
        return _LATE
    return _WRONG if line.state == Condition.WRONG_ENTRY.value else line.mark.word.lower()


def _all(number: int) -> str:
    return "The only table is" if number == 1 else f"All {number} tables are"


def _besides(lines: Sequence[TableLine]) -> str:
    words = {"Catching up": "catching up", "Running": "being offloaded", "Never offloaded": "not offloaded yet"}
    told = []
    for word, text in words.items():
        number = sum(line.mark.word == word for line in lines)
        if number:
            told.append(f"{number} {text}")
    return f"; {', '.join(told)}" if told else ""


def _facts(around: Around, lines: Sequence[TableLine]) -> Iterator[Fact]:
    known = around.known
    late = [state for state in known.states if state.level is not None and state.lag is not None]
    if late:
        worst = max(late, key=lambda state: state.lag or timedelta())
        level = next(line.level for line in lines if line.name == worst.name)
        value = roughly(worst.lag or timedelta())
        yield Fact("Longest lag", value, f"{level.word if level else ''}, {worst.name}", level.tone if level else None)
    rows = sum(line.spark.rows for line in lines if line.spark)
    yield Fact(
        "Rows in 24 hours",
        amount(rows),
        f"into {count(sum(bool(line.spark and line.spark.rows) for line in lines), 'table')}",
    )
    yield _cycle(around)
    yield from _airflow(around)
    yield _audits(lines)


def _cycle(around: Around) -> Fact:
    cycle = newest_cycle(around.known.reading.steps, around.known.reading.jobs, around.now)
    if cycle is None:
        return Fact("Newest cycle", "none", "in the last hour", Tone.WATCH)
    if cycle.is_running:
        return Fact("Newest cycle", "running", f"for {roughly(cycle.duration)}", Tone.BUSY)
    return Fact("Newest cycle", duration(cycle.duration), f"ended {ago(around.now - cycle.at)}")


def _airflow(around: Around) -> Iterator[Fact]:
    cycles, dag = around.cycles, around.addresses.dag
    if cycles is None:
        yield Fact("Scheduler", "unknown", "Airflow can't be asked", Tone.WATCH)
        return
    beat = (
        f"heartbeat {ago(max(around.now - cycles.heartbeat, timedelta()))}" if cycles.heartbeat else "no heartbeat yet"
    )
    is_well = cycles.scheduler_alive
    yield Fact("Scheduler", "alive" if is_well else "not running", beat, Tone.GOOD if is_well else Tone.BAD)
    if not cycles.is_known:
        yield Fact("DAG", "unknown", cycles.dag_id, Tone.BAD)
    elif cycles.is_paused:
        yield Fact("DAG", "paused", cycles.dag_id, Tone.BAD, dag)
    else:
        yield Fact("DAG", "on", cycles.dag_id, Tone.GOOD, dag)


def _audits(lines: Sequence[TableLine]) -> Fact:
    audits = [line.audit for line in lines if line.audit.when is not None]
    differing = sum(audit.differing for audit in audits)
    if not audits:
        return Fact("Audits", "none", "in the last week", Tone.OFF)
    newest = max((audit.when for audit in audits if audit.when), key=lambda when: when.value)
    if differing:
        worst = max((audit.tone for audit in audits), key=list(Tone).index)
        return Fact("Audits", count(differing, "window"), f"differing; newest {newest.ago}", worst)
    return Fact("Audits", "equal", f"newest {newest.ago}", Tone.GOOD)
