"""A DAG's runs in Airflow's own database: which intervals a backfill has, and what it must not leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from airflow.jobs.job import Job
from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, JobState
from airflow.utils.types import DagRunType

from offload_airflow.backfill import Request, planned_intervals, run_backfill, run_once
from offload_airflow.compat import DAG, BaseOperator
from offload_airflow.compat_dag_runs import DagRuns
from offload_airflow.doctor import check_abandoned
from offload_core.errors import FixConfiguration, WaitForOtherRun
from offload_core.table_config import DEFAULT_TABLES
from offload_core.window import Interval
from tests.support.runs import quiet, scheduled_run
from tests.support.servers import unique_name

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def dag(airflow_database: None) -> DAG:
    """A DAG as the scheduler knows it, on and every quarter of an hour."""
    assert airflow_database is None
    schedule = CronDataIntervalTimetable("*/15 * * * *", "UTC")
    with DAG(unique_name("backfilled"), schedule=schedule, start_date=NOON - timedelta(days=9), catchup=False) as made:
        BaseOperator(task_id="only")
    with quiet(), create_session() as session:
        DAG.bulk_write_to_db([made], session=session)
        SerializedDagModel.write_dag(made, session=session)
    DagRuns(made.dag_id).pause(False)
    return made


@pytest.fixture
def runs(dag: DAG) -> DagRuns:
    return DagRuns(dag.dag_id)


@pytest.fixture
def backfill_job(request: pytest.FixtureRequest) -> Iterator[None]:
    """A backfill, of whatever DAG, that gave its last sign of life when the test says."""
    heartbeat: datetime = request.param
    with create_session() as session:
        job = Job(job_type="BackfillJob", state=JobState.RUNNING, latest_heartbeat=heartbeat)
        job.job_type, job.state, job.latest_heartbeat = "BackfillJob", JobState.RUNNING, heartbeat
        session.add(job)
        session.flush()
        number = job.id
    yield
    with create_session() as session:
        session.query(Job).filter(Job.id == number).delete()


def run_of(dag: DAG, end: datetime, run_type: DagRunType, state: DagRunState) -> DagRun:
    run = scheduled_run(dag, end)
    with create_session() as session:
        session.query(DagRun).filter(DagRun.run_id == run.run_id).update({"run_type": run_type, "state": state})
    return run


def type_of(run: DagRun) -> str:
    with create_session() as session:
        found = session.query(DagRun.run_type).filter(DagRun.run_id == run.run_id).scalar()
    return str(found)


def request(start: datetime, end: datetime) -> Request:
    buffer, wait = 5 * MINUTE, timedelta(0)
    return Request(Interval(start, end), DEFAULT_TABLES, is_all=True, buffer=buffer, rerun=False, wait=wait)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 60, [0, 15, 30, 45, 60]),
        (0, 10, [0]),
        (-5, 10, [-15, 0]),
        (12, 14, [15]),
        (10, 11, [0, 15]),
        (11, 12, [15]),
    ],
)
def test_the_intervals_of_a_backfill_are_those_whose_runs_move_its_rows(
    runs: DagRuns, start: int, end: int, expected: list[int]
) -> None:
    found = planned_intervals(runs, request(NOON + start * MINUTE, NOON + end * MINUTE), NOON + timedelta(days=1))
    assert [(moment - NOON) // MINUTE for moment in found] == expected


def test_an_interval_that_is_not_over_yet_is_left_to_the_scheduler(runs: DagRuns) -> None:
    found = planned_intervals(runs, request(NOON, NOON + 60 * MINUTE), NOON + 44 * MINUTE)
    assert found == [NOON, NOON + 15 * MINUTE]


@pytest.mark.parametrize("state", [DagRunState.SUCCESS, DagRunState.FAILED, DagRunState.QUEUED, DagRunState.RUNNING])
def test_what_backfills_have_left_behind_is_given_to_the_scheduler(dag: DAG, runs: DagRuns, state: DagRunState) -> None:
    left = run_of(dag, NOON, DagRunType.BACKFILL_JOB, state)
    assert runs.adopt_backfills(datetime.now(timezone.utc)) == 1
    assert type_of(left) == "scheduled"


@pytest.mark.parametrize("backfill_job", [NOON - MINUTE], indirect=True)
@pytest.mark.usefixtures("backfill_job")
def test_a_backfill_that_is_alive_keeps_its_unfinished_runs(dag: DAG, runs: DagRuns) -> None:
    done = run_of(dag, NOON, DagRunType.BACKFILL_JOB, DagRunState.SUCCESS)
    queued = run_of(dag, NOON + 15 * MINUTE, DagRunType.BACKFILL_JOB, DagRunState.QUEUED)
    running = run_of(dag, NOON + 30 * MINUTE, DagRunType.BACKFILL_JOB, DagRunState.RUNNING)
    assert runs.adopt_backfills(NOON) == 1
    assert [type_of(run) for run in (done, queued, running)] == ["scheduled", "backfill", "backfill"]


@pytest.mark.parametrize("backfill_job", [NOON - 3 * MINUTE], indirect=True)
@pytest.mark.usefixtures("backfill_job")
def test_a_backfill_that_was_killed_loses_its_unfinished_runs_to_the_scheduler(dag: DAG, runs: DagRuns) -> None:
    running = run_of(dag, NOON, DagRunType.BACKFILL_JOB, DagRunState.RUNNING)
    runs.adopt_backfills(NOON)
    assert type_of(running) == "scheduled"


@pytest.mark.parametrize(
    ("backfill_job", "is_abandoned"), [(NOON - MINUTE, False), (NOON - 3 * MINUTE, True)], indirect=["backfill_job"]
)
@pytest.mark.usefixtures("backfill_job")
def test_the_unfinished_runs_of_a_backfill_that_was_killed_are_told(
    dag: DAG, runs: DagRuns, is_abandoned: bool
) -> None:
    running = run_of(dag, NOON, DagRunType.BACKFILL_JOB, DagRunState.RUNNING)
    run_of(dag, NOON + 15 * MINUTE, DagRunType.BACKFILL_JOB, DagRunState.SUCCESS)
    run_of(dag, NOON + 30 * MINUTE, DagRunType.SCHEDULED, DagRunState.RUNNING)
    abandoned = runs.abandoned(NOON)
    assert [run.run_id for run in abandoned] == ([running.run_id] if is_abandoned else [])
    assert [running.run_id in found.finding for found in check_abandoned(abandoned)] == [True] * is_abandoned


def test_a_manual_run_and_the_runs_of_other_dags_are_left_alone(dag: DAG, runs: DagRuns) -> None:
    manual = run_of(dag, NOON, DagRunType.MANUAL, DagRunState.RUNNING)
    other = DagRuns(unique_name("other"))
    run_of(dag, NOON + 15 * MINUTE, DagRunType.BACKFILL_JOB, DagRunState.SUCCESS)
    assert other.adopt_backfills(NOON) == 0
    runs.adopt_backfills(NOON)
    assert type_of(manual) == "manual"


def test_a_backfill_does_not_wait_for_ever_for_a_run_at_work_and_leaves_the_dag_unpaused(
    dag: DAG, runs: DagRuns
) -> None:
    at_work = run_of(dag, NOON, DagRunType.SCHEDULED, DagRunState.RUNNING)
    said: list[str] = []
    with pytest.raises(WaitForOtherRun, match=rf"{at_work.run_id} \(running\).*Nothing was run"):
        run_backfill(runs, request(NOON, NOON + MINUTE), [NOON], said.append)
    assert not runs.is_paused
    assert type_of(at_work) == "scheduled"


def test_a_paused_dag_with_an_unfinished_run_is_refused_because_that_would_never_end(dag: DAG, runs: DagRuns) -> None:
    queued = run_of(dag, NOON, DagRunType.SCHEDULED, DagRunState.QUEUED)
    runs.pause(True)
    with pytest.raises(FixConfiguration, match=rf"is paused.*{queued.run_id}.*Unpause it"):
        run_backfill(runs, request(NOON, NOON + MINUTE), [NOON], lambda _: None)
    assert runs.is_paused


def test_one_run_over_everything_needs_a_dag_that_is_on(runs: DagRuns) -> None:
    runs.pause(True)
    with pytest.raises(FixConfiguration, match="is paused, so nothing would run"):
        run_once(runs, request(NOON, NOON + MINUTE), lambda _: None)


@pytest.mark.usefixtures("airflow_database")
def test_a_dag_that_airflow_does_not_know_is_an_error_with_the_remedy() -> None:
    with pytest.raises(FixConfiguration, match=r"doesn't know the DAG nowhere.*AIRFLOW_HOME"):
        DagRuns("nowhere").pause(True)
