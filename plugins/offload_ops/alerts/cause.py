"""Why a table is late: what stops all tables before what fails one, in the order of the flowchart in the runbooks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from offload_core.config.lag import LagLevel
from offload_ops.alerts.model import Cycles
from offload_ops.table_state import Condition, TableState
from offload_ops.text import clock


class Runbook(str, Enum):
    """The runbooks, by file name."""

    FAILURE = "iceberg-offload-failure.md"
    LAG = "iceberg-offload-lag.md"
    PERFORMANCE = "iceberg-offload-performance.md"
    WATERMARK = "iceberg-offload-watermark-recovery.md"
    SCHEDULER = "iceberg-scheduler-recovery.md"


@dataclass(frozen=True)
class Cause:
    """A likely cause, what to do, and the runbook that says more.

    Attributes:
        title: the cause in a few words, if it stops all tables.
    """

    finding: str
    remedy: str
    runbook: Runbook
    title: str = ""


def likely_cause(state: TableState, cycles: Cycles | None, now: datetime) -> Cause:
    """Why this table is halted, fails or is late.

    Args:
        state: the table.
        cycles: the offload's DAG; None if Airflow can't be queried.
        now: the present (UTC).
    """
    return (
        _unusable_table(state)
        or next(iter(obstacles(cycles) if cycles else ()), None)
        or _failure(state)
        or _slow_cycle(state, cycles, now)
    )


def obstacles(cycles: Cycles) -> list[Cause]:
    """All that keeps every table from being offloaded, the first to be fixed first."""
    return list(_obstacles(cycles))


def _unusable_table(state: TableState) -> Cause | None:
    issue = state.issue
    if issue is None:
        return None
    if state.condition is Condition.HALTED:
        since = f" since {clock(issue.since)} UTC" if issue.since else ""
        return Cause(f"It has been halted{since}: {issue.message}", issue.remedy or "", Runbook.WATERMARK)
    if state.condition in (Condition.NO_WATERMARK, Condition.WRONG_ENTRY):
        return Cause(issue.message, issue.remedy or "", Runbook.WATERMARK)
    return None


def _obstacles(cycles: Cycles) -> Iterator[Cause]:
    if not cycles.scheduler_alive:
        last = (
            f"its last heartbeat was at {clock(cycles.heartbeat)} UTC" if cycles.heartbeat else "no heartbeat is known"
        )
        yield Cause(
            f"Airflow's scheduler is not running: {last}.",
            "Start it: `airflow scheduler`, or its service. The next cycle catches up by itself.",
            Runbook.SCHEDULER,
            "Nothing is offloaded: no scheduler is running",
        )
    if cycles.import_errors:
        yield Cause(
            f"The DAG {cycles.dag_id} can't be imported: {cycles.import_errors[0]}",
            "Fix what the error names, often a Variable; `airflow dags list-import-errors` shows it in full.",
            Runbook.SCHEDULER,
            "The DAG can't be imported",
        )
    if not cycles.is_known:
        yield Cause(
            f"Airflow doesn't know the DAG {cycles.dag_id}.",
            "Copy `dags/` and `plugins/` into AIRFLOW_HOME.",
            Runbook.SCHEDULER,
            "Airflow doesn't know the DAG",
        )
    elif cycles.is_paused:
        yield Cause(
            f"The DAG {cycles.dag_id} is paused.",
            f"Switch it on: `airflow dags unpause {cycles.dag_id}`. The next cycle catches up by itself.",
            Runbook.SCHEDULER,
            "Nothing is offloaded: the DAG is paused",
        )


def _failure(state: TableState) -> Cause | None:
    issue = state.issue
    if issue is None:
        return None
    times = f" ({issue.attempts} attempts in a row)" if issue.attempts > 1 else ""
    return Cause(f"Its last attempt failed{times}: {issue.message}", issue.remedy or "", Runbook.FAILURE)


def _slow_cycle(state: TableState, cycles: Cycles | None, now: datetime) -> Cause:
    # In a healthy pipeline, a cycle begins before any table is that late.
    longest_pause = state.bounds.bound(LagLevel.WARNING)
    if cycles is not None and cycles.running_since is not None:
        minutes = (now - cycles.running_since).total_seconds() / 60
        return Cause(
            f"The cycle that began at {clock(cycles.running_since)} UTC is still running, after {minutes:.0f} minutes.",
            "Find the slow task in Airflow's Gantt view, and check whether ClickHouse has many more rows than usual.",
            Runbook.PERFORMANCE,
        )
    if cycles is not None and (cycles.last_started is None or now - cycles.last_started > longest_pause):
        last = f"since {clock(cycles.last_started)} UTC" if cycles.last_started else "yet"
        return Cause(
            f"No cycle has started {last}: the scheduler was stopped or had no free slot.",
            f"Trigger one now: `airflow dags trigger {cycles.dag_id}`. "
            "If it stays queued, check the pools and the scheduler's log.",
            Runbook.SCHEDULER,
        )
    return Cause(
        "Cycles run, but this table was neither offloaded nor did it fail.",
        "Read the log of its `wait_…` task in the newest run; a run for other tables only leaves this one out.",
        Runbook.LAG,
    )
