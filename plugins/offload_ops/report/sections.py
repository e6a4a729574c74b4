"""The content of a report, as words and tables. HTML and text only lay it out, so they can't differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from offload_core.config.lag import LagLevel
from offload_ops.report.issues import LOWEST_SUCCESS_RATE
from offload_ops.report.model import Report, TableReport
from offload_ops.text import (
    NOT_AVAILABLE,
    amount,
    byte_size,
    clock,
    duration,
    duration_in_words,
    percent,
    percent_change,
)

LAG, ROWS, LATE_ROWS = "lag", "rows", "late-rows"
"""The names of the plots."""
_MOST_OUTAGES = 20
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class KeyFigure:
    """One of the figures at the top of a report; `detail` says in a few words what it is based on."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True)
class ReportColumn:
    """A column's heading, and whether it holds figures, which are aligned to the right."""

    title: str
    is_figure: bool = True


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        note: what the figures mean, in one or two sentences.
        rows: the table.
        empty_text: shown in place of a table without rows.
        plot: the name of the plot above the table, if any.
        plot_text: what the plot shows.
    """

    title: str
    note: str
    columns: tuple[ReportColumn, ...]
    rows: tuple[tuple[str, ...], ...]
    empty_text: str = ""
    plot: str | None = None
    plot_text: str = ""


def figures(report: Report) -> tuple[KeyFigure, ...]:
    """The figures at the top."""
    return (*_cycle_figures(report), *_table_figures(report))


def sections(report: Report) -> tuple[Section, ...]:
    """All parts of the report, in their order."""
    parts = (_freshness, _volumes, _days, _late_rows, _audits, _failures, _outages, _maintenance)
    return tuple(part(report) for part in parts)


def _cycle_figures(report: Report) -> Iterator[KeyFigure]:
    cycles = report.cycles
    if cycles is None:
        yield KeyFigure("Success rate", NOT_AVAILABLE, "Airflow was not queried")
        yield KeyFigure("Uptime", NOT_AVAILABLE, "Airflow was not queried")
        return
    yield KeyFigure(
        "Success rate",
        percent(cycles.success_rate),
        f"{amount(cycles.succeeded)} of {amount(cycles.succeeded + cycles.failed)} cycles after retries",
    )
    yield KeyFigure(
        "Uptime", percent(cycles.uptime), f"{amount(cycles.started)} of {amount(cycles.due)} due cycles started"
    )


def _table_figures(report: Report) -> Iterator[KeyFigure]:
    objective = duration(report.bounds.bound(LagLevel.CRITICAL))
    yield KeyFigure(f"At most {objective} late", percent(report.in_time), "of the time, over all tables")
    trend = percent_change(report.rows, report.rows_before)
    yield KeyFigure(
        "Rows offloaded",
        amount(report.rows),
        f"{trend} compared with the previous period" if trend != NOT_AVAILABLE else "new rows",
    )
    yield KeyFigure("Late rows", amount(report.late_rows), "inserted afterwards, each once")
    yield KeyFigure("Failed attempts", amount(report.failures), "including those whose retry succeeded")
    halted = sum(table.halt is not None for table in report.tables)
    yield KeyFigure("Halted tables", amount(halted), f"of {amount(len(report.tables))}, now")
    if report.scheduler is not None:
        up = report.scheduler.up_since
        since = f"up since {clock(up)}" if up else "it is down now"
        yield KeyFigure("Scheduler restarts", amount(report.scheduler.restarts), since)
    elif report.cycles is not None:
        yield KeyFigure("Scheduler restarts", NOT_AVAILABLE, "no scheduler has recorded them")


def _freshness(report: Report) -> Section:
    rows = []
    expected, objective = report.bounds.bound(LagLevel.WARNING), report.bounds.bound(LagLevel.CRITICAL)
    for table in report.tables:
        fresh = table.freshness
        if fresh is None:
            rows.append((table.table, _state(table), NOT_AVAILABLE, NOT_AVAILABLE, NOT_AVAILABLE, NOT_AVAILABLE))
            continue
        in_time = 1 - fresh.too_late / fresh.observed if fresh.observed else None
        figures = percent(in_time), duration(fresh.late), duration(fresh.too_late), duration(fresh.longest)
        rows.append((table.table, _state(table), *figures))
    return Section(
        "Freshness",
        "Lag is the time since a table was last offloaded with success. "
        f"The objective is at most {duration_in_words(objective)}; below {duration_in_words(expected)} is expected.",
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
        empty_text="No table is configured.",
        plot=LAG,
        plot_text="The longest lag of each table in each hour, "
        f"with lines at {duration(expected)} and {duration(objective)}.",
    )


def _state(table: TableReport) -> str:
    if table.halt is not None:
        return "HALTED"
    if table.layer is None:
        return "not configured"
    if not table.is_offloaded:
        return "switched off"
    return "offloaded" if table.freshness else "unknown"


def _volumes(report: Report) -> Section:
    rows = [
        (
            table.table,
            table.layer or NOT_AVAILABLE,
            amount(table.rows),
            percent_change(table.rows, table.rows_before),
            amount(table.increments),
            amount(table.empty),
            amount(table.cold_rows),
        )
        for table in report.tables
    ]
    total = ("All tables", "", amount(report.rows), percent_change(report.rows, report.rows_before), "", "", "")
    return Section(
        "Volumes",
        "New rows by the time of their offload; for candles, the rows that were written. "
        "The change compares with the previous period of the same length.",
        _columns("Table", "Layer", "Rows", "Change", "Increments", "Empty", "Rows in Iceberg", words=2),
        (*rows, total) if rows else (),
        empty_text="No table is configured.",
        plot=ROWS,
        plot_text="New rows of each day, stacked by table.",
    )


def _days(report: Report) -> Section:
    rows = []
    for day in report.days:
        cycles = day.cycles
        cells = (
            (f"{amount(cycles.started)} of {amount(cycles.due)}", amount(cycles.failed), percent(cycles.success_rate))
            if cycles
            else (NOT_AVAILABLE, NOT_AVAILABLE, NOT_AVAILABLE)
        )
        rows.append((f"{day.day:%a %Y-%m-%d}", *cells, amount(day.rows), amount(day.late_rows), amount(day.failures)))
    return Section(
        "Day by day",
        "Failed cycles are those that failed after all retries. "
        f"A success rate below {percent(LOWEST_SUCCESS_RATE)} is cause for alarm.",
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
        "Rows that appeared after their window had been offloaded, and were inserted afterwards. "
        "If there are many, raise `buffer_minutes`. Replaced rows are those of intervals that an operator restated.",
        _columns("Table", "Late rows", "Replaced rows", words=1),
        tuple(rows),
        empty_text="No row was late.",
        plot=LATE_ROWS,
        plot_text="Late rows of each table.",
    )


def _audits(report: Report) -> Section:
    audits = report.maintenance.audits or {}
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
        "Windows compared in both tiers by count and hash, and those that differed: by late rows, changed rows, "
        "rows that only Iceberg has, or rows that Iceberg lost. Open windows still differed when the period ended.",
        _columns("Table", "Windows", "Late", "Changed", "Surplus", "Lost", "Open", "Last audit", words=1),
        tuple(rows),
        empty_text="No table was audited.",
    )


def _maintenance(report: Report) -> Section:
    runs = report.maintenance.runs or {}
    rows = [
        (
            table,
            amount(run.runs),
            f"{amount(run.files_before)} → {amount(run.files)}",
            f"{byte_size(run.size_before)} → {byte_size(run.size)}",
            amount(run.snapshots),
            f"{run.planning_milliseconds:.0f} ms",
            clock(run.last),
        )
        for table, run in _in_order(report, runs)
    ]
    return Section(
        "Maintenance",
        "Files and size of the Iceberg tables before the first and after the last maintenance of the period; "
        "snapshots and planning time after the last run.",
        _columns("Table", "Runs", "Files", "Size", "Snapshots", "Planning", "Last run", words=1),
        tuple(rows),
        empty_text="No table was maintained.",
    )


def _failures(report: Report) -> Section:
    rows = [
        (table.table, kind, amount(count), amount(table.halts) if number == 0 else "")
        for table in report.tables
        for number, (kind, count) in enumerate(_kinds(table))
    ]
    return Section(
        "Failed attempts",
        "By kind of error. A failed attempt is retried twice. A halted table waits until an operator resumes it.",
        _columns("Table", "Kind of error", "Attempts", "Halts", words=2),
        tuple(rows),
        empty_text="No attempt failed.",
    )


def _kinds(table: TableReport) -> Sequence[tuple[str, int]]:
    kinds = Counter(table.failures).most_common()
    return kinds or ([("none", 0)] if table.halts else [])


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
        empty_text="Every due cycle started." if report.cycles else "Airflow was not queried.",
    )


def _in_order(report: Report, by_table: Mapping[str, _Value]) -> list[tuple[str, _Value]]:
    """Values by table, in the order of the other parts."""
    return [(table.table, by_table[table.table]) for table in report.tables if table.table in by_table]


def _columns(*titles: str, words: int) -> tuple[ReportColumn, ...]:
    """The columns; the first `words` of them hold words."""
    return tuple(ReportColumn(title, number >= words) for number, title in enumerate(titles))
