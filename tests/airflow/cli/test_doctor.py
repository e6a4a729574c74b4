"""What `offload doctor` finds out from Airflow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from offload_airflow.cli.doctor import airflow_checks, check_cycles, check_scheduler, spark_master
from offload_airflow.compat.health import dag_state, latest_runs, scheduler_state
from offload_airflow.compat.types import DagState, PastRun, SchedulerState
from offload_ops.doctor.model import CYCLES, SCHEDULER, Health
from tests.support.stack.airflow_version import dag_run, forget, known_dag

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
ALIVE = SchedulerState(NOW, True)
WELL = DagState(is_known=True, is_paused=False, import_errors=[])


def run(state: str, minutes_ago: float, seconds: float | None) -> PastRun:
    """A run that was started some minutes ago and took some seconds; None: it still runs."""
    started = NOW - timedelta(minutes=minutes_ago)
    return PastRun("run", state, started, None if seconds is None else started + timedelta(seconds=seconds))


class TestTheScheduler:
    def test_one_that_lives_with_the_dag_switched_on_is_green(self):
        (found,) = check_scheduler(ALIVE, WELL)

        assert (found.check, found.health) == (SCHEDULER, Health.GREEN)

    @pytest.mark.parametrize(
        ("scheduler", "dag", "problem", "remedy"),
        [
            (SchedulerState(None, False), WELL, "there never was one", "airflow scheduler"),
            (SchedulerState(NOW, False), WELL, "last heartbeat was at 2026-11-20 12:00:00", "airflow scheduler"),
            (ALIVE, DagState(False, False, []), "doesn't know the DAG iceberg_offload", "AIRFLOW_HOME"),
            (ALIVE, DagState(True, True, []), "is paused", "airflow dags unpause iceberg_offload"),
            (ALIVE, DagState(True, False, ["dag.py: FixConfiguration: no JSON"]), "no JSON", "list-import-errors"),
        ],
    )
    def test_each_thing_in_its_way_is_red_with_what_to_do(self, scheduler, dag, problem, remedy):
        (found,) = check_scheduler(scheduler, dag)

        assert found.health is Health.RED
        assert problem in found.message
        assert remedy in (found.remedy or "")

    def test_several_things_are_told_at_once(self):
        assert len(check_scheduler(SchedulerState(None, False), DagState(True, True, ["broken"]))) == 3


class TestTheCycles:
    @pytest.mark.parametrize(
        ("runs", "health"),
        [
            ([run("success", 10, 30), run("success", 25, 30)], Health.GREEN),
            ([run("running", 2, None), run("success", 15, 30)], Health.GREEN),
            ([], Health.YELLOW),
            ([run("success", 10, 30), run("failed", 25, 30)], Health.YELLOW),
            ([run("success", 10, 301)], Health.YELLOW),
            ([run("success", 20, 601)], Health.RED),
            ([run("failed", 10, 30), run("success", 25, 30)], Health.RED),
            ([run("running", 2, None), run("failed", 15, 30)], Health.RED),
            ([run("running", 16, None)], Health.RED),
        ],
    )
    def test_the_last_ones_are_judged_by_state_and_duration(self, runs, health):
        (found,) = check_cycles(runs, NOW)

        assert (found.check, found.health) == (CYCLES, health)
        assert (found.remedy is None) == (health is Health.GREEN)

    def test_each_is_told_with_its_duration(self):
        (found,) = check_cycles([run("running", 1, None), run("success", 15, 12.34)], NOW)

        assert found.message == "2026-11-20 11:59:00 running since 60.0 s, 2026-11-20 11:45:00 success after 12.3 s"


@pytest.mark.usefixtures("airflow_database")
class TestAirflowsDatabase:
    DAG_ID = "doctor_test"

    @pytest.fixture(autouse=True)
    def _clean(self) -> Iterator[None]:
        yield
        from airflow.jobs.job import Job
        from airflow.models.dag import DagModel
        from airflow.models.dagrun import DagRun
        from airflow.models.errors import ParseImportError

        forget(DagRun, DagModel, dag_id=self.DAG_ID)
        forget(ParseImportError, Job)

    def add(self, row: object) -> None:
        from airflow.utils.session import create_session

        with create_session() as session:
            session.add(row)

    def test_without_any_scheduler_none_is_alive(self):
        assert scheduler_state() == SchedulerState(None, False)

    @pytest.mark.parametrize(("age", "is_alive"), [(0, True), (120, False)])
    def test_a_scheduler_lives_by_its_heartbeat(self, age, is_alive):
        from airflow.jobs.job import Job

        job = Job()
        job.job_type, job.state = "SchedulerJob", "running"
        job.latest_heartbeat = datetime.now(timezone.utc) - timedelta(seconds=age)
        self.add(job)

        found = scheduler_state()

        assert found.is_alive is is_alive
        assert found.heartbeat == job.latest_heartbeat

    def test_an_unknown_dag_is_told_with_every_import_error(self):
        from airflow.models.errors import ParseImportError

        self.add(ParseImportError(filename="/dags/x.py", stacktrace="Traceback\n  ...\nValueError: no JSON\n"))

        assert dag_state(self.DAG_ID) == DagState(False, False, ["/dags/x.py: ValueError: no JSON"])

    def test_a_known_dag_is_told_with_its_own_files_errors_only(self):
        from airflow.models.errors import ParseImportError

        self.add(known_dag(self.DAG_ID, "y.py", paused=True))
        self.add(ParseImportError(filename="x.py", stacktrace="ValueError: x"))
        self.add(ParseImportError(filename="y.py", stacktrace="ValueError: y"))

        assert dag_state(self.DAG_ID) == DagState(True, True, ["y.py: ValueError: y"])

    def test_runs_come_newest_first_and_those_that_only_wait_do_not(self):
        for hour, state in ((9, "success"), (10, "failed"), (11, "running"), (12, "queued")):
            moment = NOW.replace(hour=hour)
            run = dag_run(self.DAG_ID, str(hour), moment, state=state, run_type="manual")
            run.start_date = None if state == "queued" else moment
            run.end_date = None if state in ("queued", "running") else moment + timedelta(seconds=5)
            self.add(run)

        runs = latest_runs(self.DAG_ID, 2)

        assert [(run.run_id, run.state) for run in runs] == [("11", "running"), ("10", "failed")]
        assert runs[1].ended == runs[1].started + timedelta(seconds=5)

    @pytest.mark.parametrize(
        ("host", "port", "expected"),
        [
            ("spark://spark.example.com", 7000, "spark://spark.example.com:7000"),
            ("spark://spark.example.com", None, "spark://spark.example.com:7077"),
            ("spark://a:7077,b:7077", None, "spark://a:7077,b:7077"),
            ("local[*]", None, "local[*]"),
        ],
    )
    def test_the_spark_master_is_that_of_the_connection(self, monkeypatch, host, port, expected):
        monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps({"conn_type": "spark", "host": host, "port": port}))

        assert spark_master("spark_default") == expected

    def test_the_checks_carry_the_names_that_the_command_looks_for(self):
        assert [check.name for check in airflow_checks("spark_default")] == [
            SCHEDULER,
            CYCLES,
            "6 servers: Spark master",
        ]
