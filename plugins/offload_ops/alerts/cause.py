"""Why a table is late, most likely, in the order of the runbooks' flowchart: what stops all tables before what fails one (R83, R84)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from offload_core.config.lag import LagLevel
from offload_ops.alerts.model import Cycles
from offload_ops.table_state import Condition, TableState


class Runbook(str, Enum):
    """The runbooks, by file name."""

    FAILURE = "iceberg-offload-failure.md"
    LAG = "iceberg-offload-lag.md"
    PERFORMANCE = "iceberg-offload-performance.md"
    WATERMARK = "iceberg-offload-watermark-recovery.md"
    SCHEDULER = "iceberg-scheduler-recovery.md"


@dataclass(frozen=True)
class Cause:
    """A likely cause, what to do, and where more is said."""

    finding: str
    remedy: str
    runbook: Runbook


def likely_cause(state: TableState, cycles: Cycles | None, now: datetime) -> Cause:
    """Why this table stands or is late.

    Args:
        state: the table.
        cycles: the offload's DAG; None where Airflow can't be asked.
        now: the present (UTC).
    """
    return _stopped_table(state) or _no_cycles(cycles) or _failing(state) or _slow_cycle(state, cycles, now)


def _stopped_table(state: TableState) -> Cause | None:
    problem = state.problem
    if problem is None:
        return None
    if state.condition is Condition.HALTED:
        since = f" since {_clock(problem.since)}" if problem.since else ""
        return Cause(f"It is halted{since}: {problem.message}", problem.remedy or "", Runbook.WATERMARK)
    if state.condition in (Condition.NO_WATERMARK, Condition.WRONG_ENTRY):
        return Cause(problem.message, problem.remedy or "", Runbook.WATERMARK)
    return None


def _no_cycles(cycles: Cycles | None) -> Cause | None:
    if cycles is None:
        return None
    if not cycles.scheduler_alive:
        last = f"its last sign of life was at {_clock(cycles.heartbeat)}" if cycles.heartbeat else "there never was one"
        return Cause(
            f"Airflow's scheduler is not running: {last}.",
            "Start it: `airflow scheduler`, or its service. The next cycle catches up by itself.",
            Runbook.SCHEDULER,
        )
    if cycles.import_errors:
        return Cause(
            f"The DAG {cycles.dag_id} can't be imported: {cycles.import_errors[0]}",
            "Mend what the error names, often a Variable; `airflow dags list-import-errors` shows it in full.",
            Runbook.SCHEDULER,
        )
    if not cycles.is_known:
        return Cause(
            f"Airflow doesn't know the DAG {cycles.dag_id}.",
            "Copy `dags/` and `plugins/` into AIRFLOW_HOME.",
            Runbook.SCHEDULER,
        )
    if cycles.is_paused:
        return Cause(
            f"The DAG {cycles.dag_id} is paused.",
            f"Switch it on: `airflow dags unpause {cycles.dag_id}`. The next cycle catches up by itself.",
            Runbook.SCHEDULER,
        )
    return None


def _failing(state: TableState) -> Cause | None:
    problem = state.problem
    if problem is None:
        return None
    times = f" ({problem.attempts} attempts in a row)" if problem.attempts > 1 else ""
    return Cause(f"Its last attempt failed{times}: {problem.message}", problem.remedy or "", Runbook.FAILURE)


def _slow_cycle(state: TableState, cycles: Cycles | None, now: datetime) -> Cause:
    # In a healthy pipeline, a cycle begins before any table is that late.
    silence = state.bounds.bound(LagLevel.WARNING)
    if cycles is not None and cycles.running_since is not None:
        minutes = (now - cycles.running_since).total_seconds() / 60
        return Cause(
            f"The cycle that began at {_clock(cycles.running_since)} is still at work, after {minutes:.0f} minutes.",
            "See in Airflow's Gantt view which task takes so long, and whether ClickHouse holds many more rows than usual.",
            Runbook.PERFORMANCE,
        )
    if cycles is not None and (cycles.last_started is None or now - cycles.last_started > silence):
        last = f"since {_clock(cycles.last_started)}" if cycles.last_started else "yet"
        return Cause(
            f"No cycle has begun {last}: the scheduler was stopped or had no free slot.",
            f"Trigger one now: `airflow dags trigger {cycles.dag_id}`; if it stays queued, see pools and the scheduler's log.",
            Runbook.SCHEDULER,
        )
    return Cause(
        "Cycles run, but this table was neither offloaded nor did it fail.",
        "See the log of its `wait_…` task in the newest run; a run that was narrowed to other tables leaves this one out.",
        Runbook.LAG,
    )


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
