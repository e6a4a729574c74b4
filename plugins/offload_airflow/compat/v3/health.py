"""What `offload doctor` and the alerts ask Airflow 3: its database, or, in a task, which can't reach it, the Task SDK."""

from __future__ import annotations

from datetime import datetime, timezone

from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.execution_time.comms import DagResult, GetDag, GetPreviousDagRun, PreviousDagRunResult
from airflow.utils.state import DagRunState
from sqlalchemy import select

from offload_airflow.compat.time import plain
from offload_airflow.compat.types import DagState, PastRun, SchedulerState
from offload_airflow.compat.v3 import supervisor

__all__ = ["dag_state", "latest_runs", "running_since", "scheduler_state"]

_SCHEDULER = "SchedulerJob"


def scheduler_state() -> SchedulerState:
    """Whether a scheduler is alive; in a task it is, because it has just started the task."""
    if supervisor.is_there():
        return SchedulerState(None, True)
    from airflow.jobs.job import most_recent_job

    job = most_recent_job(_SCHEDULER)
    if job is None or job.latest_heartbeat is None:
        return SchedulerState(None, False)
    return SchedulerState(plain(job.latest_heartbeat), bool(job.is_alive()))


def dag_state(dag_id: str) -> DagState:
    """What the scheduler knows of a DAG; a task is told no import errors."""
    if supervisor.is_there():
        try:
            dag = supervisor.ask_as_task(GetDag(dag_id=dag_id), DagResult)
        except AirflowRuntimeError as error:
            supervisor.require_missing(error)
            return DagState(False, False, [])
        return DagState(True, dag.is_paused, [])
    from airflow.models.dag import DagModel
    from airflow.models.errors import ParseImportError
    from airflow.utils.session import create_session

    with create_session() as session:
        model = session.get(DagModel, dag_id)
        is_known = model is not None and not model.is_stale
        errors = select(ParseImportError).order_by(ParseImportError.id)
        if model is not None and is_known:
            errors = errors.where(ParseImportError.filename == model.relative_fileloc)
        lines = [
            f"{error.filename}: {(error.stacktrace or '').strip().splitlines()[-1]}"
            for error in session.scalars(errors)
        ]
        return DagState(is_known, bool(model is not None and model.is_paused), lines)


def latest_runs(dag_id: str, count: int) -> list[PastRun]:
    """The runs of a DAG that were started last, newest first; a task is told those of the newest logical dates."""
    if supervisor.is_there():
        return _told_runs(dag_id, count)
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    runs = select(DagRun).where(DagRun.dag_id == dag_id, DagRun.start_date.is_not(None))
    with create_session() as session:
        newest = session.scalars(runs.order_by(DagRun.start_date.desc()).limit(count))
        return [
            PastRun(run.run_id, str(run.state), plain(run.start_date), plain(run.end_date) if run.end_date else None)
            for run in newest
            if run.start_date is not None
        ]


def running_since(dag_id: str) -> datetime | None:
    """When the oldest run of a DAG began that is still at work (UTC); None: none is."""
    if supervisor.is_there():
        question = GetPreviousDagRun(dag_id=dag_id, logical_date=datetime.now(timezone.utc), state="running")
        running = supervisor.ask(question, PreviousDagRunResult).dag_run
        return plain(running.start_date) if running is not None and running.start_date is not None else None
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    runs = select(DagRun.start_date).where(DagRun.dag_id == dag_id, DagRun.state == DagRunState.RUNNING)
    with create_session() as session:
        oldest = session.scalar(runs.where(DagRun.start_date.is_not(None)).order_by(DagRun.start_date).limit(1))
        return plain(oldest) if oldest else None


def _told_runs(dag_id: str, count: int) -> list[PastRun]:
    found: list[PastRun] = []
    moment = datetime.now(timezone.utc)
    while len(found) < count:
        run = supervisor.ask(GetPreviousDagRun(dag_id=dag_id, logical_date=moment), PreviousDagRunResult).dag_run
        if run is None or run.logical_date is None:
            break
        moment = run.logical_date
        if run.start_date is not None:
            ended = plain(run.end_date) if run.end_date else None
            found.append(PastRun(run.run_id, run.state.value, plain(run.start_date), ended))
    return found
