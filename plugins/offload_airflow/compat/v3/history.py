"""What a report asks Airflow 3: its database, or, in a task, which can't reach it, the Task SDK and what the scheduler has noted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pendulum
from airflow.sdk.execution_time.comms import GetPreviousDagRun, PreviousDagRunResult
from airflow.timetables.base import TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from sqlalchemy import func, select

from offload_airflow.compat.time import plain
from offload_airflow.compat.v3 import supervisor
from offload_airflow.compat.v3.scheduler_starts import load_starts, stored_starts
from offload_core.ledger.history import AirflowHistory, Cycle
from offload_core.protocol.window import Interval

__all__ = ["airflow_history"]


def airflow_history(dag_id: str, schedule: str, period: Interval) -> AirflowHistory:
    """What Airflow knows of a period.

    Args:
        dag_id: the offload's DAG.
        schedule: its cron expression (UTC), as it is now.
        period: the period.
    """
    is_task = supervisor.is_there()
    first_due, cycles = _told_cycles(dag_id, period) if is_task else _stored_cycles(dag_id, period)
    starts = load_starts() if is_task else stored_starts()
    return AirflowHistory(
        due=list(_due(schedule, period)),
        first_due=first_due,
        cycles=cycles,
        restarts=None if starts is None else starts.within(period),
        up_since=None if starts is None else starts.up_since,
    )


def _due(schedule: str, period: Interval) -> Iterator[datetime]:
    timetable = CronDataIntervalTimetable(schedule, "UTC")
    interval = timetable.infer_manual_data_interval(run_after=pendulum.instance(period.start))
    if interval.end == period.start:
        yield period.start
    while True:
        info = timetable.next_dagrun_info(
            last_automated_data_interval=interval, restriction=TimeRestriction(None, None, catchup=True)
        )
        if info is None or info.data_interval is None or info.run_after >= period.end:
            return
        interval = info.data_interval
        yield plain(info.run_after)


def _stored_cycles(dag_id: str, period: Interval) -> tuple[datetime | None, list[Cycle]]:
    """When the first cycle of all was due, and the period's, from the database."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    due = DagRun.data_interval_end
    # By its id, for a backfill that repeats a run makes it one of its own.
    own = (DagRun.dag_id == dag_id, DagRun.run_id.like("scheduled\\_\\_%", escape="\\"))
    runs = select(due, DagRun.state).where(*own, due >= period.start, due < period.end).order_by(due)
    with create_session() as session:
        first = session.scalar(select(func.min(due)).where(*own))
        cycles = [Cycle(plain(end), str(state)) for end, state in session.execute(runs)]
    return None if first is None else plain(first), cycles


def _told_cycles(dag_id: str, period: Interval) -> tuple[datetime | None, list[Cycle]]:
    """The same, run by run from the newest; before the period one run is enough to know that the first was not in it."""
    cycles: list[Cycle] = []
    first: datetime | None = None
    moment = period.end
    while first is None or first >= period.start:
        run = supervisor.ask(GetPreviousDagRun(dag_id=dag_id, logical_date=moment), PreviousDagRunResult).dag_run
        if run is None or run.logical_date is None:
            break
        moment = run.logical_date
        if run.run_id.startswith("scheduled__") and run.data_interval_end is not None:
            first = plain(run.data_interval_end)
            if period.start <= first < period.end:
                cycles.append(Cycle(first, run.state.value))
    return first, cycles[::-1]
