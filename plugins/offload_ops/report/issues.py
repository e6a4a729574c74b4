"""The issues in a report that somebody has to look at, each with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from offload_core.config.lag import LagLevel
from offload_ops.report.model import Report
from offload_ops.text import amount, clock, count, duration, duration_in_words, name_list, percent

LOWEST_SUCCESS_RATE = 0.95
"""Alerts fire below this rate; all cycles are expected to succeed after their retries."""
MOST_RESTARTS = 5
"""The scheduler may be restarted this often in seven days without being an issue."""


@dataclass(frozen=True)
class ReportIssue:
    """Something that is wrong, and what to do."""

    finding: str
    remedy: str


def find_issues(report: Report) -> tuple[ReportIssue, ...]:
    """All issues of a report, the worst first."""
    return (
        *_tables(report),
        *_differences(report),
        *_cycles(report),
        *_lag(report),
        *_scheduler(report),
        *_silent_tables(report),
        *_deleted_rows(report),
    )


def _tables(report: Report) -> Iterator[ReportIssue]:
    for table in report.tables:
        if table.halt is not None:
            yield ReportIssue(
                f"{table.table} has been halted since {clock(table.halt.since)}: {table.halt.reason}",
                f"When the cause is dealt with, run `offload resume {table.table}`.",
            )
    for problem in report.wrong_entries:
        yield ReportIssue(problem, "Correct the entry in the Airflow Variable `iceberg_offload_tables`.")
    if report.generated_at >= report.period.end:
        missing = [table.table for table in report.tables if table.is_offloaded and table.freshness is None]
        if missing:
            yield ReportIssue(
                f"{name_list(missing)}: never offloaded before the end of this period.",
                "If they are older than that, run `offload init`; `offload status` shows which tables have a "
                "watermark.",
            )


def _differences(report: Report) -> Iterator[ReportIssue]:
    audits = report.maintenance.audits
    if audits is None:
        return
    for table, audit in sorted(audits.items()):
        if audit.open_windows:
            windows, rows = count(audit.open_windows, "window"), count(audit.open_rows, "row")
            yield ReportIssue(
                f"{table}: {windows} still differed when the period ended, in {rows}.",
                f"`offload audit {table}` shows where, and what to do.",
            )
    unaudited = [table.table for table in report.tables if table.freshness is not None and table.table not in audits]
    if unaudited:
        yield ReportIssue(
            f"{name_list(unaudited)}: not audited in this period.",
            "Check that the DAG `iceberg_offload_audit` is switched on and that its runs succeed.",
        )


def _cycles(report: Report) -> Iterator[ReportIssue]:
    cycles = report.cycles
    if cycles is None:
        return
    rate = cycles.success_rate
    if rate is not None and cycles.failed:
        below = f", which is below {percent(LOWEST_SUCCESS_RATE)}" if rate < LOWEST_SUCCESS_RATE else ""
        yield ReportIssue(
            f"{amount(cycles.failed)} of {amount(cycles.succeeded + cycles.failed)} cycles failed after all retries: "
            f"success rate {percent(rate)}{below}.",
            "The failures by table are below; the log of each run's `close_cycle` says what happened to each table.",
        )
    if cycles.outages:
        worst = max(cycles.outages, key=lambda outage: outage.cycles)
        yield ReportIssue(
            f"{amount(cycles.due - cycles.started)} of {amount(cycles.due)} cycles never started, "
            f"at worst {amount(worst.cycles)} in a row from {clock(worst.first)} to {clock(worst.last)}.",
            "Check whether the scheduler was down or the DAG was paused. The next cycle caught up by itself; "
            "no rows are lost.",
        )


def _lag(report: Report) -> Iterator[ReportIssue]:
    late = {table.table: table.freshness for table in report.tables if table.freshness and table.freshness.too_late}
    if late:
        worst = max(late, key=lambda name: late[name].longest)
        total = sum((freshness.too_late for freshness in late.values()), timedelta())
        objective = duration_in_words(report.bounds.bound(LagLevel.CRITICAL))
        yield ReportIssue(
            f"{name_list(list(late))}: more than {objective} late, for {duration(total)} in total; "
            f"worst: {worst}, {duration(late[worst].longest)}.",
            "Compare with the outages and failures of these days below; docs/recovery.md says how to catch up.",
        )


def _scheduler(report: Report) -> Iterator[ReportIssue]:
    scheduler = report.scheduler
    if scheduler is None:
        return
    if scheduler.up_since is None:
        yield ReportIssue("No scheduler is alive.", "Start it: `airflow scheduler`, or its service.")
    if scheduler.restarts > MOST_RESTARTS:
        yield ReportIssue(
            f"Airflow's scheduler was restarted {amount(scheduler.restarts)} times, more than {MOST_RESTARTS}.",
            "Its log and the system's log say why it ended (out of memory, a failing health check).",
        )


def _silent_tables(report: Report) -> Iterator[ReportIssue]:
    silent = [table.table for table in report.tables if table.is_offloaded and not table.rows and table.rows_before]
    if silent:
        yield ReportIssue(
            f"{name_list(silent)}: no new rows, although there were some in the previous period.",
            "Check whether ClickHouse still receives rows, and whether the table is halted or failing "
            "(`offload status`).",
        )


def _deleted_rows(report: Report) -> Iterator[ReportIssue]:
    if report.known_since is not None:
        yield ReportIssue(
            f"The ledger no longer has all rows of this period: the figures begin only at {clock(report.known_since)}.",
            "Keep its rows longer: `ledger_retention_days` of at least 15 covers a week and the week before it.",
        )
