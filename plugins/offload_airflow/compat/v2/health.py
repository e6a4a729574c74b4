"""The state of scheduler and DAG in the database of Airflow 2.11, for `offload doctor` and the alerts."""

from __future__ import annotations

from datetime import datetime

from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.errors import ParseImportError
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState

from offload_airflow.compat.time import as_utc_datetime
from offload_airflow.compat.types import DagState, PastRun, SchedulerState

__all__ = ["dag_state", "latest_runs", "running_since", "scheduler_state"]


def scheduler_state() -> SchedulerState:
    """Whether a scheduler is alive."""
    with create_session() as session:
        job = SchedulerJobRunner.most_recent_job(session=session)
        if job is None:
            return SchedulerState(None, False)
        return SchedulerState(as_utc_datetime(job.latest_heartbeat), bool(job.is_alive()))


def dag_state(dag_id: str) -> DagState:
    """What the scheduler knows about a DAG."""
    with create_session() as session:
        model = session.get(DagModel, dag_id)
        is_known = model is not None and bool(model.is_active)
        errors = session.query(ParseImportError).order_by(ParseImportError.id)
        if is_known:
            errors = errors.filter(ParseImportError.filename == model.fileloc)
        lines = [f"{error.filename}: {error.stacktrace.strip().splitlines()[-1]}" for error in errors]
        return DagState(is_known, bool(model is not None and model.is_paused), lines)


def latest_runs(dag_id: str, count: int) -> list[PastRun]:
    """The runs of a DAG that started last, newest first."""
    with create_session() as session:
        runs = session.query(DagRun).filter(DagRun.dag_id == dag_id, DagRun.start_date.is_not(None))
        newest = runs.order_by(DagRun.start_date.desc()).limit(count)
        return [
            PastRun(
                run.run_id,
                str(run.state),
                as_utc_datetime(run.start_date),
                as_utc_datetime(run.end_date) if run.end_date else None,
            )
            for run in newest
        ]


def running_since(dag_id: str) -> datetime | None:
    """When the oldest running run of a DAG started (UTC); None if no run is running."""
    with create_session() as session:
        runs = session.query(DagRun).filter(DagRun.dag_id == dag_id, DagRun.state == DagRunState.RUNNING)
        oldest = runs.filter(DagRun.start_date.is_not(None)).order_by(DagRun.start_date).first()
        return as_utc_datetime(oldest.start_date) if oldest else None
