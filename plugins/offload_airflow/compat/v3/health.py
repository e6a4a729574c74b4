"""The state of scheduler and DAG in Airflow 3, for `offload doctor` and the alerts.

A task cannot reach Airflow's database and asks the Task SDK instead.
"""

from __future__ import annotations

from datetime import datetime, timezone

from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.execution_time.comms import DagResult, GetDag, GetPreviousDagRun, PreviousDagRunResult
from airflow.utils.state import DagRunState
from sqlalchemy import select

from offload_airflow.compat.time import as_utc_datetime
from offload_airflow.compat.types import DagState, PastRun, SchedulerState
from offload_airflow.compat.v3 import supervisor

__all__ = ["dag_state", "latest_runs", "running_since", "scheduler_state"]

_SCHEDULER = "SchedulerJob"


def scheduler_state() -> SchedulerState:
    """Whether a scheduler is alive. Seen from a task it always is, because it has just started the task."""
    if supervisor.is_present():
        return SchedulerState(None, True)
    from airflow.jobs.job import most_recent_job

    job = most_recent_job(_SCHEDULER)
    if job is None or job.latest_heartbeat is None:
        return SchedulerState(None, False)
    return SchedulerState(as_utc_datetime(job.latest_heartbeat), bool(job.is_alive()))


def dag_state(dag_id: str) -> DagState:
    """What the scheduler knows about a DAG. A task cannot see import errors."""
    if supervisor.is_present():
        try:
            dag = supervisor.request_as_task(GetDag(dag_id=dag_id), DagResult)
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
    """The runs of a DAG that started last, newest first. A task sees those with the newest logical dates."""
    if supervisor.is_present():
        return _runs_for_task(dag_id, count)
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    runs = select(DagRun).where(DagRun.dag_id == dag_id, DagRun.start_date.is_not(None))
    with create_session() as session:
        newest = session.scalars(runs.order_by(DagRun.start_date.desc()).limit(count))
        return [
            PastRun(
                run.run_id,
                str(run.state),
                as_utc_datetime(run.start_date),
                as_utc_datetime(run.end_date) if run.end_date else None,
            )
            for run in newest
            if run.start_date is not None
        ]


def running_since(dag_id: str) -> datetime | None:
    """When the oldest running run of a DAG started (UTC); None if no run is running."""
    if supervisor.is_present():
        question = GetPreviousDagRun(dag_id=dag_id, logical_date=datetime.now(timezone.utc), state="running")
        running = supervisor.request(question, PreviousDagRunResult).dag_run
        return as_utc_datetime(running.start_date) if running is not None and running.start_date is not None else None
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    runs = select(DagRun.start_date).where(DagRun.dag_id == dag_id, DagRun.state == DagRunState.RUNNING)
    with create_session() as session:
        oldest = session.scalar(runs.where(DagRun.start_date.is_not(None)).order_by(DagRun.start_date).limit(1))
        return as_utc_datetime(oldest) if oldest else None


def _runs_for_task(dag_id: str, count: int) -> list[PastRun]:
    found: list[PastRun] = []
    moment = datetime.now(timezone.utc)
    while len(found) < count:
        run = supervisor.request(GetPreviousDagRun(dag_id=dag_id, logical_date=moment), PreviousDagRunResult).dag_run
        if run is None or run.logical_date is None:
            break
        moment = run.logical_date
        if run.start_date is not None:
            ended = as_utc_datetime(run.end_date) if run.end_date else None
            found.append(PastRun(run.run_id, run.state.value, as_utc_datetime(run.start_date), ended))
    return found
