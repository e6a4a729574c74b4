"""What the scheduler of Airflow 3 does for tasks, which cannot reach Airflow's database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
from airflow.models.pool import Pool

from offload_airflow.compat.history import airflow_history
from offload_airflow.config.tables import load_settings
from offload_core.protocol.window import Interval
from tests.support.stack.airflow_version import AIRFLOW_3, dag_run, forget, parsed
from tests.support.stack.runs import PERIOD, scheduled_run, task_context
from tests.support.stack.servers import unique_name

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("airflow_database"),
    pytest.mark.skipif(not AIRFLOW_3, reason="tasks of 2.11 do it themselves"),
]

NOW = datetime.now(timezone.utc)
MONDAY = datetime(2026, 2, 16, tzinfo=timezone.utc)
WEEK = Interval(MONDAY, MONDAY + timedelta(days=7))


def begin(dag_id: str, now: datetime = NOW) -> None:
    """Start a run, as Airflow notifies its listeners of it."""
    notify_listener(scheduled_run(parsed().get_dag(dag_id), now))


def notify_listener(run: object) -> None:
    """Call the plugin's listener for a run that starts."""
    from offload_airflow.compat.v3.scheduler_duties import SchedulerDuties

    SchedulerDuties(lambda: load_settings().pool).on_dag_run_running(run, "started")


@pytest.fixture(autouse=True)
def no_runs():
    """Delete the test's runs afterwards."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

    yield
    forget(TaskInstance, DagRun)


def test_a_run_of_the_offload_finds_its_pool_and_an_existing_one_is_left_as_it_is(
    set_variable: Callable[[str, object], None],
) -> None:
    pool = unique_name("pool")
    set_variable("iceberg_offload_settings", {"pool": pool})
    begin("iceberg_offload")
    made = Pool.get_pool(pool)
    assert made is not None
    assert made.slots == 2
    Pool.create_or_update_pool(pool, slots=5, description="mine", include_deferred=False)
    begin("iceberg_offload", NOW + timedelta(minutes=15))
    kept = Pool.get_pool(pool)
    assert kept is not None
    assert kept.slots == 5


def test_a_run_of_another_dag_changes_nothing(set_variable: Callable[[str, object], None]) -> None:
    pool = unique_name("pool")
    set_variable("iceberg_offload_settings", {"pool": pool})
    begin("iceberg_offload_freshness")
    assert Pool.get_pool(pool) is None


def test_what_can_not_be_done_is_logged_and_holds_nothing_up(
    set_variable: Callable[[str, object], None], caplog: pytest.LogCaptureFixture
) -> None:
    run = scheduled_run(parsed().get_dag("iceberg_offload"), NOW)
    set_variable("iceberg_offload_settings", {"no_such_setting": 1})
    notify_listener(run)
    assert "The preparation of a run of iceberg_offload in Airflow's database failed." in caplog.text


class TestTheReport:
    """Its task cannot read from Airflow's database when schedulers were started."""

    @pytest.fixture(autouse=True)
    def no_schedulers(self):
        """No schedulers but the test's own, and nothing saved."""
        from airflow.jobs.job import Job
        from airflow.models.variable import Variable

        forget(Job)
        yield
        forget(Job, Variable)

    def test_what_the_scheduler_saves_is_what_the_database_holds(self) -> None:
        from offload_airflow.compat.v3.scheduler_starts import load_starts, stored_starts

        assert load_starts() is None
        for age in (50, 30, 1):
            add_scheduler(NOW - timedelta(hours=age))
        begin("iceberg_offload_report")

        saved = load_starts()
        assert saved == stored_starts()
        assert saved is not None
        assert saved.restarts_in(Interval(NOW - timedelta(hours=31), NOW)) == [
            NOW - timedelta(hours=30),
            NOW - timedelta(hours=1),
        ]
        assert saved.up_since == NOW - timedelta(hours=50)

    def test_a_task_sees_the_same_history_as_the_command_line(self) -> None:
        for number in range(-1, 6):
            end = MONDAY + number * PERIOD
            state, prefix = ("failed", "scheduled") if number == 3 else ("success", "scheduled")
            add_run(end, state, "manual" if number == 4 else prefix)
        add_scheduler(NOW)
        begin("iceberg_offload_report")
        read = airflow_history("iceberg_offload", "*/15 * * * *", WEEK)

        report = parsed().get_dag("iceberg_offload_report")
        with task_context(scheduled_run(report, NOW + timedelta(days=7)), report.get_task("report")):
            seen = airflow_history("iceberg_offload", "*/15 * * * *", WEEK)

        assert len(read.cycles) == 5
        assert seen == read


def add_scheduler(started: datetime) -> None:
    """A scheduler that is alive since then."""
    from airflow.jobs.job import Job
    from airflow.utils.session import create_session

    with create_session() as session:
        job = Job(job_type="SchedulerJob", state="running")
        job.start_date, job.latest_heartbeat = started, datetime.now(timezone.utc)
        session.add(job)


def add_run(end: datetime, state: str, run_type: str) -> None:
    """A run of the offload for the period that ends then."""
    from airflow.utils.session import create_session

    run = dag_run(
        "iceberg_offload", f"{run_type}__{end.isoformat()}", end - PERIOD, end, run_type=run_type, state=state
    )
    with create_session() as session:
        session.add(run)
