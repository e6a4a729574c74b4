"""What of a report somebody has to look at, each with what to do (R35, R89, R97, R109)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from offload_core.config.lag import LagLevel
from offload_ops.report.model import Report
from offload_ops.text import amount, clock, duration, in_words, listed, share

LOWEST_SUCCESS_RATE = 0.95
"""Below this, alerts fire as well; all cycles are expected to succeed after their retries (X17)."""
MOST_RESTARTS = 5
"""Restarts of the scheduler in seven days that are not yet worth a word (X20)."""


@dataclass(frozen=True)
class Attention:
    """Something that is not as it should be, and what to do."""

    finding: str
    remedy: str


def attention(report: Report) -> tuple[Attention, ...]:
    """All that is not as it should be, the worst first."""
    return (
        *_tables_that_stand(report),
        *_differences(report),
        *_cycles(report),
        *_lag(report),
        *_scheduler(report),
        *_dried_up(report),
        *_deleted(report),
    )


def _tables_that_stand(report: Report) -> Iterator[Attention]:
    for table in report.tables:
        if table.halt is not None:
            yield Attention(
                f"{table.table} is halted since {clock(table.halt.since)}: {table.halt.why}",
                f"When the cause is dealt with, run `offload resume {table.table}`.",
            )
    for problem in report.wrong_entries:
        yield Attention(problem, "Correct the entry in the Airflow Variable `iceberg_offload_tables`.")
    if report.made_at >= report.period.end:
        missing = [table.table for table in report.tables if table.is_offloaded and table.freshness is None]
        if missing:
            yield Attention(
                f"{listed(missing)}: never offloaded up to the end of this period.",
                "If they are older than that, run `offload init`; `offload status` shows which tables have a watermark.",
            )


def _differences(report: Report) -> Iterator[Attention]:
    audits = report.upkeep.audits
    if audits is None:
        return
    for table, audit in sorted(audits.items()):
        if audit.open_windows:
            yield Attention(
                f"{table}: {amount(audit.open_windows)} windows still differed when the period ended, in {amount(audit.open_rows)} rows.",
                f"`offload audit {table}` shows where, and what to do.",
            )
    unaudited = [table.table for table in report.tables if table.freshness is not None and table.table not in audits]
    if unaudited:
        yield Attention(
            f"{listed(unaudited)}: not audited in this period.",
            "See that the DAG `iceberg_offload_audit` is switched on and that its runs succeed.",
        )


def _cycles(report: Report) -> Iterator[Attention]:
    cycles = report.cycles
    if cycles is None:
        return
    if cycles.success_rate is not None and cycles.failed:
        below = f", which is below {share(LOWEST_SUCCESS_RATE)}" if cycles.success_rate < LOWEST_SUCCESS_RATE else ""
        yield Attention(
            f"{amount(cycles.failed)} of {amount(cycles.succeeded + cycles.failed)} cycles ended failed after their retries: "
            f"success rate {share(cycles.success_rate)}{below}.",
            "The failures by table are below; the runs' `close_cycle` in Airflow says what became of each table.",
        )
    if cycles.outages:
        worst = max(cycles.outages, key=lambda outage: outage.cycles)
        yield Attention(
            f"{amount(cycles.due - cycles.started)} of {amount(cycles.due)} cycles never started, "
            f"at worst {amount(worst.cycles)} in a row from {clock(worst.first)} to {clock(worst.last)}.",
            "See whether the scheduler was down or the DAG paused. The next cycle caught up by itself: no row is lost by this.",
        )


def _lag(report: Report) -> Iterator[Attention]:
    late = {table.table: table.freshness for table in report.tables if table.freshness and table.freshness.too_late}
    if late:
        worst = max(late, key=lambda name: late[name].longest)
        total = sum((one.too_late for one in late.values()), timedelta())
        yield Attention(
            f"{listed(list(late))}: more than {in_words(report.bounds.bound(LagLevel.CRITICAL))} late, together for {duration(total)}; "
            f"at worst {worst}, {duration(late[worst].longest)}.",
            "Compare with the outages and failures of these days below; docs/recovery.md says how to catch up.",
        )


def _scheduler(report: Report) -> Iterator[Attention]:
    scheduler = report.scheduler
    if scheduler is None:
        return
    if scheduler.up_since is None:
        yield Attention("No scheduler is alive.", "Start it: `airflow scheduler`, or its service.")
    if scheduler.restarts > MOST_RESTARTS:
        yield Attention(
            f"Airflow's scheduler was restarted {amount(scheduler.restarts)} times, more than {MOST_RESTARTS}.",
            "See its log and the system's (out of memory, a failing health check) for why it ended.",
        )


def _dried_up(report: Report) -> Iterator[Attention]:
    silent = [table.table for table in report.tables if table.is_offloaded and not table.rows and table.rows_before]
    if silent:
        yield Attention(
            f"{listed(silent)}: no new rows, though there were some in the time before.",
            "See whether ClickHouse still gets rows, and whether the table is halted or failing (`offload status`).",
        )


def _deleted(report: Report) -> Iterator[Attention]:
    if report.known_since is not None:
        yield Attention(
            f"The ledger no longer has all rows of this period: figures begin as late as {clock(report.known_since)}.",
            "Keep its rows longer: `ledger_retention_days` of at least 15 covers a week and the one before it.",
        )
