"""Past cycles and scheduler restarts in Airflow 3, for reports.

A task cannot reach Airflow's database. It asks the Task SDK and reads what the scheduler has saved for it.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk.execution_time.comms import GetPreviousDagRun, PreviousDagRunResult
from sqlalchemy import func, select

from offload_airflow.compat.schedule import due_times
from offload_airflow.compat.time import as_utc_datetime
from offload_airflow.compat.v3 import supervisor
from offload_airflow.compat.v3.scheduler_starts import load_starts, stored_starts
from offload_core.protocol.window import Interval
from offload_ops.report.airflow_history import AirflowHistory, Cycle

__all__ = ["airflow_history"]


def airflow_history(dag_id: str, schedule: str, period: Interval) -> AirflowHistory:
    """What Airflow knows about a period.

    Args:
        dag_id: the offload's DAG.
        schedule: its cron expression (UTC), as it is now.
        period: the period.
    """
    is_task = supervisor.is_present()
    first_due, cycles = _cycles_for_task(dag_id, period) if is_task else _stored_cycles(dag_id, period)
    starts = load_starts() if is_task else stored_starts()
    return AirflowHistory(
        due=list(due_times(schedule, period)),
        first_due=first_due,
        cycles=cycles,
        restarts=None if starts is None else starts.restarts_in(period),
        up_since=None if starts is None else starts.up_since,
    )


def _stored_cycles(dag_id: str, period: Interval) -> tuple[datetime | None, list[Cycle]]:
    """When the very first cycle was due, and the cycles of the period, from the database."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    due = DagRun.data_interval_end
    # By its id, because a backfill that repeats a scheduled run changes its type.
    own = (DagRun.dag_id == dag_id, DagRun.run_id.like("scheduled\\_\\_%", escape="\\"))
    runs = select(due, DagRun.state).where(*own, due >= period.start, due < period.end).order_by(due)
    with create_session() as session:
        first = session.scalar(select(func.min(due)).where(*own))
        cycles = [Cycle(as_utc_datetime(end), str(state)) for end, state in session.execute(runs)]
    return None if first is None else as_utc_datetime(first), cycles


def _cycles_for_task(dag_id: str, period: Interval) -> tuple[datetime | None, list[Cycle]]:
    """When the first cycle was due, and the cycles of the period, run by run from the newest.

    One run before the period is enough to know that the first cycle was not in it.
    """
    cycles: list[Cycle] = []
    first: datetime | None = None
    moment = period.end
    while first is None or first >= period.start:
        run = supervisor.request(GetPreviousDagRun(dag_id=dag_id, logical_date=moment), PreviousDagRunResult).dag_run
        if run is None or run.logical_date is None:
            break
        moment = run.logical_date
        if run.run_id.startswith("scheduled__") and run.data_interval_end is not None:
            first = as_utc_datetime(run.data_interval_end)
            if period.start <= first < period.end:
                cycles.append(Cycle(first, run.state.value))
    return first, cycles[::-1]
