"""A DAG's runs in Airflow's own database: which intervals a backfill has, and what it must not leave behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from airflow.jobs.job import Job, JobState
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunType
from sqlalchemy import select, update

from offload_airflow.cli.backfill import planned_intervals, run_backfill, run_once
from offload_airflow.cli.doctor import check_abandoned
from offload_airflow.compat.dag_runs import DagRuns
from offload_airflow.compat.sdk import DAG, BaseOperator, CronDataIntervalTimetable
from offload_airflow.compat.types import BackfillRequest
from offload_core.config.tables import DEFAULT_TABLES
from offload_core.errors import FixConfiguration, WaitForOtherRun
from offload_core.protocol.window import Interval
from tests.support.stack.airflow_version import AIRFLOW_3, forget
from tests.support.stack.runs import scheduled_run, stored
from tests.support.stack.servers import unique_name

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)

leaves_runs_behind = pytest.mark.skipif(
    AIRFLOW_3, reason="its scheduler runs backfills, and keeps what they leave behind"
)


@pytest.fixture
def dag(airflow_database: None) -> DAG:
    """A DAG as the scheduler knows it, on and every quarter of an hour."""
    assert airflow_database is None
    schedule = CronDataIntervalTimetable("*/15 * * * *", "UTC")
    with DAG(unique_name("backfilled"), schedule=schedule, start_date=NOON - timedelta(days=9), catchup=False) as made:
        BaseOperator(task_id="only")
    stored(made)
    DagRuns(made.dag_id).pause(False)
    return made


@pytest.fixture
def scheduler() -> Iterator[None]:
    """A scheduler that is alive, as far as Airflow's database knows."""
    with create_session() as session:
        job = Job(job_type="SchedulerJob", state=JobState.RUNNING)
        job.start_date = job.latest_heartbeat = datetime.now(timezone.utc)
        session.add(job)
    yield
    forget(Job, job_type="SchedulerJob")


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
    forget(Job, id=number)


def run_of(dag: DAG, end: datetime, run_type: DagRunType, state: DagRunState) -> DagRun:
    run = scheduled_run(dag, end)
    with create_session() as session:
        changed = update(DagRun).where(DagRun.run_id == run.run_id)
        session.execute(changed.values(run_type=run_type, _state=state))
    return run


def type_of(run: DagRun) -> str:
    with create_session() as session:
        found = session.scalar(select(DagRun.run_type).where(DagRun.run_id == run.run_id))
    return str(found)


def request(start: datetime, end: datetime) -> BackfillRequest:
    buffer, wait = 5 * MINUTE, timedelta(0)
    return BackfillRequest(Interval(start, end), DEFAULT_TABLES, is_all=True, buffer=buffer, rerun=False, wait=wait)


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


@leaves_runs_behind
@pytest.mark.parametrize("state", [DagRunState.SUCCESS, DagRunState.FAILED, DagRunState.QUEUED, DagRunState.RUNNING])
def test_what_backfills_have_left_behind_is_given_to_the_scheduler(dag: DAG, runs: DagRuns, state: DagRunState) -> None:
    left = run_of(dag, NOON, DagRunType.BACKFILL_JOB, state)
    assert runs.adopt_backfills(datetime.now(timezone.utc)) == 1
    assert type_of(left) == "scheduled"


@leaves_runs_behind
@pytest.mark.parametrize("backfill_job", [NOON - MINUTE], indirect=True)
@pytest.mark.usefixtures("backfill_job")
def test_a_backfill_that_is_alive_keeps_its_unfinished_runs(dag: DAG, runs: DagRuns) -> None:
    done = run_of(dag, NOON, DagRunType.BACKFILL_JOB, DagRunState.SUCCESS)
    queued = run_of(dag, NOON + 15 * MINUTE, DagRunType.BACKFILL_JOB, DagRunState.QUEUED)
    running = run_of(dag, NOON + 30 * MINUTE, DagRunType.BACKFILL_JOB, DagRunState.RUNNING)
    assert runs.adopt_backfills(NOON) == 1
    assert [type_of(run) for run in (done, queued, running)] == ["scheduled", "backfill", "backfill"]


@leaves_runs_behind
@pytest.mark.parametrize("backfill_job", [NOON - 3 * MINUTE], indirect=True)
@pytest.mark.usefixtures("backfill_job")
def test_a_backfill_that_was_killed_loses_its_unfinished_runs_to_the_scheduler(dag: DAG, runs: DagRuns) -> None:
    running = run_of(dag, NOON, DagRunType.BACKFILL_JOB, DagRunState.RUNNING)
    runs.adopt_backfills(NOON)
    assert type_of(running) == "scheduled"


@leaves_runs_behind
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
    assert [running.run_id in found.message for found in check_abandoned(abandoned)] == [True] * is_abandoned


@leaves_runs_behind
def test_a_manual_run_and_the_runs_of_other_dags_are_left_alone(dag: DAG, runs: DagRuns) -> None:
    manual = run_of(dag, NOON, DagRunType.MANUAL, DagRunState.RUNNING)
    other = DagRuns(unique_name("other"))
    run_of(dag, NOON + 15 * MINUTE, DagRunType.BACKFILL_JOB, DagRunState.SUCCESS)
    assert other.adopt_backfills(NOON) == 0
    runs.adopt_backfills(NOON)
    assert type_of(manual) == "manual"


@pytest.mark.usefixtures("scheduler")
def test_a_backfill_does_not_wait_for_ever_for_a_run_at_work_and_leaves_the_dag_unpaused(
    dag: DAG, runs: DagRuns
) -> None:
    at_work = run_of(dag, NOON + 15 * MINUTE, DagRunType.SCHEDULED, DagRunState.RUNNING)
    lines: list[str] = []
    with pytest.raises(WaitForOtherRun, match=rf"{at_work.run_id} \(running\).*Nothing was run"):
        run_backfill(runs, request(NOON, NOON + MINUTE), [NOON], lines.append)
    assert not runs.is_paused
    assert type_of(at_work) == "scheduled"


def test_a_paused_dag_with_an_unfinished_run_is_refused_because_that_would_never_end(dag: DAG, runs: DagRuns) -> None:
    queued = run_of(dag, NOON, DagRunType.SCHEDULED, DagRunState.QUEUED)
    runs.pause(True)
    unfinished = "" if AIRFLOW_3 else queued.run_id
    with pytest.raises(FixConfiguration, match=rf"is paused.*{unfinished}.*Unpause it"):
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


@pytest.mark.skipif(not AIRFLOW_3, reason="2.11 has a command that runs them")
@pytest.mark.usefixtures("scheduler")
class TestAirflow3RunsThem:
    """The scheduler's part, which starts runs and ends them, is played by a thread."""

    def test_every_interval_gets_a_run_that_is_waited_for(self, runs: DagRuns) -> None:
        starts = [NOON, NOON + 15 * MINUTE, NOON + 30 * MINUTE]
        with ended_by_the_scheduler(runs, starts) as begun:
            ended = run_backfill(runs, request(NOON, NOON + 45 * MINUTE), starts, lambda _: None)
        assert [(run.start, run.state) for run in ended] == [(start, "success") for start in starts]
        assert begun == [{}, {}, {}]

    def test_a_run_that_has_run_well_is_left_as_it_is_unless_all_shall_run_again(self, dag: DAG, runs: DagRuns) -> None:
        well = run_of(dag, NOON + 15 * MINUTE, DagRunType.SCHEDULED, DagRunState.SUCCESS)
        assert run_backfill(runs, request(NOON, NOON + MINUTE), [NOON], lambda _: None)[0].run_id == well.run_id
        assert type_of(well) == "scheduled"

        again = replace(request(NOON, NOON + MINUTE), rerun=True)
        settle(runs)
        with ended_by_the_scheduler(runs, [NOON]) as begun:
            run_backfill(runs, again, [NOON], lambda _: None)
        assert begun == [{}]

    def test_runs_of_some_tables_are_about_them_alone_and_about_all_when_they_are_cleared_later(
        self, runs: DagRuns
    ) -> None:
        some = replace(request(NOON, NOON + MINUTE), tables=DEFAULT_TABLES[:1], is_all=False)
        with ended_by_the_scheduler(runs, [NOON]) as begun:
            run_backfill(runs, some, [NOON], lambda _: None)
        assert begun == [{"tables": [DEFAULT_TABLES[0].name]}]
        assert runs.confs([NOON]) == {NOON: {}}

    def test_what_is_interrupted_leaves_no_run_unfinished(self, runs: DagRuns, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(_seconds: float) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("offload_airflow.compat.v3.backfills.time.sleep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_backfill(runs, request(NOON, NOON + MINUTE), [NOON], lambda _: None)
        assert runs.unfinished() == []
        assert runs.starting_at([NOON])[NOON].state == "failed"

    def test_without_a_scheduler_nothing_is_begun(self, runs: DagRuns) -> None:
        forget(Job, job_type="SchedulerJob")
        with pytest.raises(FixConfiguration, match="No scheduler is alive"):
            run_backfill(runs, request(NOON, NOON + MINUTE), [NOON], lambda _: None)
        assert runs.starting_at([NOON]) == {}


@contextmanager
def ended_by_the_scheduler(runs: DagRuns, starts: Sequence[datetime]) -> Iterator[list[dict[str, object]]]:
    """Ends each run well as soon as it is there, and yields what each was asked for."""
    begun: list[dict[str, object]] = []
    is_over = threading.Event()

    def work() -> None:
        left = list(starts)
        while left and not is_over.wait(0.05):
            found = runs.starting_at(left)
            if len(found) < len(left):
                # SQLite fails if this thread writes while the backfill is still being created.
                continue
            for start in [start for start in left if start in found and found[start].state == "queued"]:
                begun.append(runs.confs([start])[start])
                left.remove(start)
                with create_session() as session:
                    session.execute(
                        update(DagRun).where(DagRun.run_id == found[start].run_id).values(_state=DagRunState.SUCCESS)
                    )

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield begun
    finally:
        is_over.set()
        thread.join()
        settle(runs)


def settle(runs: DagRuns) -> None:
    """The scheduler marks a backfill whose runs have ended as complete."""
    from airflow.models.backfill import Backfill

    with create_session() as session:
        ended = update(Backfill).where(Backfill.dag_id == runs.dag_id, Backfill.completed_at.is_(None))
        session.execute(ended.values(completed_at=datetime.now(timezone.utc)))
