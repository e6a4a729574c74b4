"""What a report says, in words and tables; HTML and text only lay it out, so that they can't differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from offload_core.config.lag import LagLevel
from offload_ops.report.attention import LOWEST_SUCCESS_RATE
from offload_ops.report.model import Report, TableReport
from offload_ops.text import NOTHING, amount, change, clock, duration, in_words, share, size

LAG, ROWS, LATE_ROWS = "lag", "rows", "late-rows"
"""The names of the pictures."""
_MOST_OUTAGES = 20
_Of = TypeVar("_Of")


@dataclass(frozen=True)
class Figure:
    """One of the figures that a report begins with: `value` of `label`, and a few words of what it is made of."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True)
class Column:
    """A column's heading, and whether it holds figures, which stand on the right."""

    title: str
    is_figure: bool = True


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        note: what the figures mean, in one or two sentences.
        rows: the table; without any, `nothing` is said instead.
        plot: the name of the picture above the table; None: there is none.
        shows: what the picture shows, in words.
    """

    title: str
    note: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    nothing: str = ""
    plot: str | None = None
    shows: str = ""


def figures(report: Report) -> tuple[Figure, ...]:
    """The figures at the top."""
    return (*_cycle_figures(report), *_table_figures(report))


def sections(report: Report) -> tuple[Section, ...]:
    """All parts, in their order."""
    parts = (_freshness, _volumes, _days, _late_rows, _audits, _failures, _outages, _maintenance)
    return tuple(part(report) for part in parts)


def _cycle_figures(report: Report) -> Iterator[Figure]:
    cycles = report.cycles
    if cycles is None:
        yield Figure("Success rate", NOTHING, "Airflow was not asked")
        yield Figure("Uptime", NOTHING, "Airflow was not asked")
        return
    yield Figure(
        "Success rate",
        share(cycles.success_rate),
        f"{amount(cycles.succeeded)} of {amount(cycles.succeeded + cycles.failed)} cycles after retries",
    )
    yield Figure("Uptime", share(cycles.uptime), f"{amount(cycles.started)} of {amount(cycles.due)} due cycles started")


def _table_figures(report: Report) -> Iterator[Figure]:
    objective = duration(report.bounds.bound(LagLevel.CRITICAL))
    yield Figure(f"At most {objective} late", share(report.in_time), "of the time, all tables together")
    trend = change(report.rows, report.rows_before)
    yield Figure(
        "Rows offloaded", amount(report.rows), f"{trend} against the time before" if trend != NOTHING else "new rows"
    )
    yield Figure("Late rows", amount(report.late_rows), "inserted afterwards, once each")
    yield Figure("Failed attempts", amount(report.failures), "counted before their retries")
    halted = sum(table.halt is not None for table in report.tables)
    yield Figure("Halted tables", amount(halted), f"of {amount(len(report.tables))}, now")
    if report.scheduler is not None:
        up = report.scheduler.up_since
        since = f"up since {clock(up)}" if up else "it is down now"
        yield Figure("Scheduler restarts", amount(report.scheduler.restarts), since)
    elif report.cycles is not None:
        yield Figure("Scheduler restarts", NOTHING, "no scheduler has noted them for this report")


def _freshness(report: Report) -> Section:
    rows = []
    expected, objective = report.bounds.bound(LagLevel.WARNING), report.bounds.bound(LagLevel.CRITICAL)
    for table in report.tables:
        fresh = table.freshness
        if fresh is None:
            rows.append((table.table, _state(table), NOTHING, NOTHING, NOTHING, NOTHING))
            continue
        in_time = 1 - fresh.too_late / fresh.observed if fresh.observed else None
        figures = share(in_time), duration(fresh.late), duration(fresh.too_late), duration(fresh.longest)
        rows.append((table.table, _state(table), *figures))
    return Section(
        "Freshness",
        "Lag is the time since a table was last offloaded with success. "
        f"The objective: at most {in_words(objective)}, expected below {in_words(expected)}.",
        _columns(
            "Table",
            "State",
            f"At most {duration(objective)}",
            f"Over {duration(expected)}",
            f"Over {duration(objective)}",
            "Longest",
            words=2,
        ),
        tuple(rows),
        nothing="No table is configured.",
        plot=LAG,
        shows=f"Each table's greatest lag in every hour, with lines at {duration(expected)} and {duration(objective)}.",
    )


def _state(table: TableReport) -> str:
    if table.halt is not None:
        return "HALTED"
    if table.layer is None:
        return "not configured"
    if not table.is_offloaded:
        return "switched off"
    return "offloaded" if table.freshness else "not known"


def _volumes(report: Report) -> Section:
    rows = [
        (
            table.table,
            table.layer or NOTHING,
            amount(table.rows),
            change(table.rows, table.rows_before),
            amount(table.increments),
            amount(table.empty),
            amount(table.cold_rows),
        )
        for table in report.tables
    ]
    total = ("All tables", "", amount(report.rows), change(report.rows, report.rows_before), "", "", "")
    return Section(
        "Volumes",
        "New rows by when they were offloaded; of candles those that were written. The change is against as long a time before.",
        _columns("Table", "Layer", "Rows", "Change", "Increments", "Empty", "Rows in Iceberg", words=2),
        (*rows, total) if rows else (),
        nothing="No table is configured.",
        plot=ROWS,
        shows="New rows of every day, stacked by table.",
    )


def _days(report: Report) -> Section:
    rows = []
    for day in report.days:
        cycles = day.cycles
        told = (
            (f"{amount(cycles.started)} of {amount(cycles.due)}", amount(cycles.failed), share(cycles.success_rate))
            if cycles
            else (NOTHING, NOTHING, NOTHING)
        )
        rows.append((f"{day.day:%a %Y-%m-%d}", *told, amount(day.rows), amount(day.late_rows), amount(day.failures)))
    return Section(
        "Day by day",
        f"Cycles failed are those that failed after all retries; a day below {share(LOWEST_SUCCESS_RATE)} is one for an alarm.",
        _columns("Day", "Cycles", "Failed", "Success rate", "Rows", "Late rows", "Failed attempts", words=1),
        tuple(rows),
    )


def _late_rows(report: Report) -> Section:
    rows = [
        (table.table, amount(table.late_rows), amount(table.restated_rows))
        for table in report.tables
        if table.late_rows or table.restated_rows
    ]
    return Section(
        "Late rows",
        "Rows that were not there yet when their time was offloaded, and were inserted afterwards. "
        "If there are many of them, raise `buffer_minutes`. Replaced rows are those of intervals that somebody restated.",
        _columns("Table", "Late rows", "Replaced rows", words=1),
        tuple(rows),
        nothing="No row was late.",
        plot=LATE_ROWS,
        shows="Late rows of every table.",
    )


def _audits(report: Report) -> Section:
    audits = report.upkeep.audits or {}
    rows = [
        (
            table,
            *map(amount, (audit.windows, audit.late, audit.changed, audit.surplus, audit.lost, audit.open_windows)),
            clock(audit.last),
        )
        for table, audit in _in_order(report, audits)
    ]
    return Section(
        "Audits",
        "Windows that were compared on both sides by count and hash, and those that differed: because of late rows, of changed ones, of "
        "rows that only Iceberg holds, of rows that Iceberg lost. Open ones still differed when the period ended.",
        _columns("Table", "Windows", "Late", "Changed", "Surplus", "Lost", "Open", "Last audit", words=1),
        tuple(rows),
        nothing="No table was audited.",
    )


def _maintenance(report: Report) -> Section:
    done = report.upkeep.maintenance or {}
    rows = [
        (
            table,
            amount(one.runs),
            f"{amount(one.files_before)} → {amount(one.files)}",
            f"{size(one.size_before)} → {size(one.size)}",
            amount(one.snapshots),
            f"{one.planning_milliseconds:.0f} ms",
            clock(one.last),
        )
        for table, one in _in_order(report, done)
    ]
    return Section(
        "Maintenance",
        "Files and size of the Iceberg tables before the first and after the last maintenance of the period; then, how they are left.",
        _columns("Table", "Runs", "Files", "Size", "Snapshots", "Planning", "Last run", words=1),
        tuple(rows),
        nothing="No table was maintained.",
    )


def _failures(report: Report) -> Section:
    rows = [
        (table.table, kind, amount(count), amount(table.halts) if number == 0 else "")
        for table in report.tables
        for number, (kind, count) in enumerate(_kinds(table))
    ]
    return Section(
        "Failed attempts",
        "By kind of error; an attempt that failed is tried twice more. A halt stops its table until it is resumed.",
        _columns("Table", "Kind of error", "Attempts", "Halts", words=2),
        tuple(rows),
        nothing="No attempt failed.",
    )


def _kinds(table: TableReport) -> Sequence[tuple[str, int]]:
    found = Counter(table.failures).most_common()
    return found or ([("none", 0)] if table.halts else [])


def _outages(report: Report) -> Section:
    outages = report.cycles.outages if report.cycles else ()
    longest = sorted(outages, key=lambda outage: outage.cycles, reverse=True)[:_MOST_OUTAGES]
    shown = [outage for outage in outages if outage in longest]
    left_out = f" The {_MOST_OUTAGES} longest of {amount(len(outages))} are shown." if len(shown) < len(outages) else ""
    return Section(
        "Outages",
        f"Cycles that were due and never started, because the scheduler was down or the DAG paused.{left_out}",
        _columns("First", "Last", "Cycles", words=2),
        tuple((clock(outage.first), clock(outage.last), amount(outage.cycles)) for outage in shown),
        nothing="Every due cycle was started." if report.cycles else "Airflow was not asked.",
    )


def _in_order(report: Report, by_table: Mapping[str, _Of]) -> list[tuple[str, _Of]]:
    """What is known by table, in the order of the other parts."""
    return [(table.table, by_table[table.table]) for table in report.tables if table.table in by_table]


def _columns(*titles: str, words: int) -> tuple[Column, ...]:
    """The columns, of which the first `words` hold words."""
    return tuple(Column(title, number >= words) for number, title in enumerate(titles))
