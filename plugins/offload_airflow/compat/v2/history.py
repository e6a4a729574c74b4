"""Past cycles and scheduler restarts in the database of Airflow 2.11, for reports."""

from __future__ import annotations

from datetime import datetime

from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.state import JobState
from airflow.utils.types import DagRunType
from sqlalchemy import func
from sqlalchemy.orm import Session

from offload_airflow.compat.schedule import due_times
from offload_airflow.compat.time import as_utc_datetime
from offload_core.protocol.window import Interval
from offload_ops.report.airflow_history import AirflowHistory, Cycle

__all__ = ["airflow_history"]


def airflow_history(dag_id: str, schedule: str, period: Interval) -> AirflowHistory:
    """What Airflow's database knows about a period.

    Args:
        dag_id: the offload's DAG.
        schedule: its cron expression (UTC), as it is now.
        period: the period.
    """
    with create_session() as session:
        return AirflowHistory(
            due=list(due_times(schedule, period)),
            first_due=_or_none(session.query(func.min(DagRun.data_interval_end)).filter(*_own(dag_id)).scalar()),
            cycles=_cycles(session, dag_id, period),
            restarts=_restarts(session, period),
            up_since=_up_since(session),
        )


def _own(dag_id: str) -> tuple[object, ...]:
    """Conditions for runs that the scheduler has created. Backfill runs become `scheduled` later but keep their id."""
    return (
        DagRun.dag_id == dag_id,
        DagRun.run_type == DagRunType.SCHEDULED,
        DagRun.run_id.notlike(f"{DagRunType.BACKFILL_JOB.value}\\_\\_%", escape="\\"),
    )


def _cycles(session: Session, dag_id: str, period: Interval) -> list[Cycle]:
    due = DagRun.data_interval_end
    runs = session.query(due, DagRun.state).filter(*_own(dag_id), due >= period.start, due < period.end)
    return [Cycle(as_utc_datetime(end), str(state)) for end, state in runs.order_by(due)]


def _restarts(session: Session, period: Interval) -> list[datetime]:
    is_scheduler = Job.job_type == SchedulerJobRunner.job_type
    first = session.query(func.min(Job.start_date)).filter(is_scheduler).scalar_subquery()
    starts = session.query(Job.start_date).filter(
        is_scheduler, Job.start_date >= period.start, Job.start_date < period.end, Job.start_date > first
    )
    return [as_utc_datetime(start) for (start,) in starts.order_by(Job.start_date)]


def _up_since(session: Session) -> datetime | None:
    jobs = session.query(Job).filter(Job.job_type == SchedulerJobRunner.job_type, Job.state == JobState.RUNNING)
    return min((as_utc_datetime(job.start_date) for job in jobs if job.is_alive()), default=None)


def _or_none(value: datetime | None) -> datetime | None:
    return None if value is None else as_utc_datetime(value)
