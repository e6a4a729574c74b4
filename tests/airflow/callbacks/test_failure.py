"""What the DAGs' own tasks tell when they fail: tasks of the shipped DAGs, run by Airflow without a scheduler."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session

from offload_airflow.compat.sdk import DAG, AirflowFailException
from offload_airflow.notify.alerts import offload_cycles
from offload_core.config.connections import PostgresConnection
from offload_core.errors import ClickHouseUnavailable, LedgerUnavailable
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.rows import Step, StepKind
from offload_core.protocol.window import ORIGIN
from tests.support.fakes.mail_server import MailServer, free_port, silent_server
from tests.support.ledger.monitored_stack import OPS, PAGER, TABLES, MonitoredTables, subjects, text
from tests.support.ledger.week_of_ledger import MINUTE
from tests.support.stack.airflow_connections import SetConnection
from tests.support.stack.airflow_version import forget, forget_dag, known_dag, parsed, stored_xcoms
from tests.support.stack.runs import attempt, manual_run, scheduled_run

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("airflow_database")]

BINANCE, KRAKEN = TABLES[:2]
NOW = datetime.now(timezone.utc)
OFFLOAD, AUDIT, FRESHNESS = "iceberg_offload", "iceberg_offload_audit", "iceberg_offload_freshness"


@pytest.fixture(scope="module")
def bag() -> Any:
    return parsed()


@pytest.fixture
def load(bag: Any) -> Iterator[Callable[[str], DAG]]:
    """Loads a shipped DAG; its runs are gone afterwards."""

    def load(dag_id: str) -> DAG:
        dag: DAG = bag.get_dag(dag_id)
        return dag

    yield load
    end_runs()


@pytest.fixture
def initialized(ledger: Ledger) -> Ledger:
    """A ledger with all tables, offloaded just now."""
    for name in TABLES:
        ledger.initialize(name)
        step = Step(StepKind.EMPTY, ORIGIN, generation=0, source_uuid=None, run_id="r", attempt=1)
        ledger.append(ledger.watermark(name), step)
    return ledger


@pytest.fixture
def alerts(
    initialized: Ledger,
    configure_alerts: Callable[..., None],
    mails: MailServer,
    connect_postgres: PostgresConnection,
    set_connection: SetConnection,
) -> MailServer:
    """Somebody to tell; nobody listens where ClickHouse should be."""
    assert initialized
    assert configure_alerts
    assert connect_postgres
    set_connection("clickhouse_default", conn_type="clickhouse", host="127.0.0.1", port=free_port())
    set_connection("clickhouse_http", conn_type="http", host="127.0.0.1", port=free_port())
    return mails


def three_attempts(dag: DAG, task_id: str, error: type[Exception], before: Callable[[], None] = lambda: None) -> None:
    run = scheduled_run(dag, NOW)
    for _ in range(3):
        before()
        with pytest.raises(error):
            attempt(run, dag.get_task(task_id))


def end_runs() -> None:
    """No runs, and nothing that they left."""
    from airflow.models.dagrun import DagRun

    forget(stored_xcoms(), TaskInstance, DagRun)


class TestTheOffload:
    def test_a_table_that_fails_is_told_after_its_last_attempt_and_the_next_one_of_the_same_cause_is_not(
        self, alerts, load
    ):
        mails_sent: list[int] = []
        dag = load(OFFLOAD)
        three_attempts(
            dag, f"bronze.wait_{BINANCE}", ClickHouseUnavailable, lambda: mails_sent.append(len(alerts.mails))
        )
        mails_sent.append(len(alerts.mails))
        end_runs()
        three_attempts(dag, f"bronze.wait_{KRAKEN}", ClickHouseUnavailable)

        assert mails_sent == [0, 0, 0, 1]
        assert subjects(alerts) == [f"The offload of {BINANCE} failed (clickhouse_connection)"]
        assert "(3 attempts in a row): ClickHouse at 127.0.0.1" in text(alerts)

    def test_a_halted_table_pages_at_its_first_attempt(self, alerts, load, initialized):
        initialized.record_failure(BINANCE, "hot_rows_expired", "TTL took rows.", run_id="r", attempt=1, halt=True)
        dag = load(OFFLOAD)
        with pytest.raises(AirflowFailException):
            attempt(scheduled_run(dag, NOW), dag.get_task(f"bronze.wait_{BINANCE}"))

        assert subjects(alerts) == [f"PAGE: Data loss: {BINANCE} is halted"]
        assert alerts.mails[0].recipients == [OPS, PAGER]

    def test_what_nobody_foresaw_is_told_though_the_ledger_knows_nothing_of_it(self, alerts, load, monkeypatch):
        def broken(*_: object) -> None:
            raise ZeroDivisionError("division by zero")

        monkeypatch.setattr("offload_airflow.sensors.watermark.WatermarkSensor._decide", broken)
        three_attempts(load(OFFLOAD), f"bronze.wait_{BINANCE}", ZeroDivisionError)

        assert subjects(alerts) == [f"The offload of {BINANCE} failed (other)"]
        assert "division by zero" in text(alerts)

    def test_a_slip_in_a_form_is_its_authors_business(self, alerts, load):
        dag = load(OFFLOAD)
        run = manual_run(dag, NOW, {"from": "2026-03-02T00:00:00+00:00", "to": "2026-03-01T00:00:00+00:00"})
        with pytest.raises(AirflowFailException):
            attempt(run, dag.get_task("open_cycle"))
        with pytest.raises(AirflowFailException):
            attempt(run, dag.get_task(f"bronze.wait_{BINANCE}"))

        assert alerts.mails == []

    @pytest.mark.parametrize("broken", ["mail server dead", "mail server silent", "ledger dead", "settings wrong"])
    def test_whatever_becomes_of_the_message_the_task_ends_as_it_would(
        self, alerts, load, monkeypatch, set_connection, set_variable, caplog, broken
    ):
        monkeypatch.setattr("offload_airflow.callbacks.failure.CALLBACK_SECONDS", 2.0)
        error: type[Exception] = ClickHouseUnavailable
        with silent_server() as silent:
            if broken.startswith("mail"):
                monkeypatch.setenv("AIRFLOW__SMTP__SMTP_PORT", str(silent if "silent" in broken else free_port()))
            elif broken == "ledger dead":
                set_connection(
                    "postgres_default", conn_type="postgres", host="127.0.0.1", port=free_port(), login="x", schema="x"
                )
                error = LedgerUnavailable
            else:
                set_variable("iceberg_offload_settings", {"no_such_setting": 1})
                error = AirflowFailException
            dag = load(OFFLOAD)
            run, wait = scheduled_run(dag, NOW), dag.get_task(f"bronze.wait_{BINANCE}")
            states = []
            for _ in range(1 if broken == "settings wrong" else 3):
                with pytest.raises(error), caplog.at_level(logging.INFO):
                    attempt(run, wait)
                states.append(run.get_task_instance(wait.task_id).state)

        assert states == [*["up_for_retry"] * (len(states) - 1), "failed"]
        assert f"Notification about the failure of {BINANCE} failed" in caplog.text
        assert ("It took longer than 2 seconds." in caplog.text) == ("silent" in broken)
        assert alerts.mails == []


class TestTheOtherDags:
    def test_an_audit_that_fails_is_told_once_until_one_succeeds(self, alerts, load):
        dag = load(AUDIT)
        close = dag.get_task("close_audit")
        for number, failed in enumerate([True, True, False, True]):
            run = scheduled_run(dag, NOW + number * timedelta(hours=1))
            end(run, f"look_again_{BINANCE}", "failed" if failed else "success")
            if failed:
                with pytest.raises(AirflowFailException):
                    attempt(run, close)
            else:
                attempt(run, close)

        assert subjects(alerts) == ["A run of iceberg_offload_audit has failed"] * 2
        assert f"1 tasks failed: look_again_{BINANCE}." in text(alerts)
        assert alerts.mails[0].recipients == [OPS]


def end(run: object, task_id: str, state: str) -> None:
    with create_session() as session:
        for instance in run.get_task_instances(session=session):  # type: ignore[attr-defined]
            if instance.task_id == task_id:
                instance.state = state


class TestTheFreshnessDag:
    def test_it_tells_a_late_table_with_the_cause_that_airflow_knows(
        self, monitored: MonitoredTables, mails, load, caplog
    ):
        monitored.cycle(datetime.now(timezone.utc) - 25 * MINUTE)
        dag = load(FRESHNESS)
        with scheduler_and_dag(paused=True), caplog.at_level(logging.INFO):
            attempt(scheduled_run(dag, NOW), dag.get_task("freshness"))

        assert subjects(mails) == ["Warning: 9 tables are more than 20 minutes late"]
        assert "The DAG iceberg_offload is paused." in text(mails)
        assert f"{BINANCE}: lag 2" in caplog.text

    def test_a_ledger_that_is_away_is_told_once_and_that_it_is_back(self, alerts, load, monkeypatch):
        dag = load(FRESHNESS)
        task = dag.get_task("freshness")
        with monkeypatch.context() as unavailable:
            set_unavailable(unavailable)
            for number in range(3):
                with pytest.raises(AirflowFailException, match="can't be reached"):
                    attempt(scheduled_run(dag, NOW + number * 5 * MINUTE), task)
        for number in range(3, 5):
            attempt(scheduled_run(dag, NOW + number * 5 * MINUTE), task)

        assert subjects(alerts) == [
            "The ledger can't be reached: nothing is offloaded",
            "Over: the ledger can be reached again",
        ]
        assert alerts.mails[0].recipients == [OPS, PAGER]

    def test_a_ledger_that_was_not_upgraded_fails_the_look_and_says_what_to_run(
        self, alerts, load, connect_postgres, set_connection
    ):
        # A database without the package's tables.
        set_connection("postgres_default", **{**postgres_fields(connect_postgres), "schema": "postgres"})
        dag = load(FRESHNESS)
        with pytest.raises(AirflowFailException, match="offload init"):
            attempt(scheduled_run(dag, NOW), dag.get_task("freshness"))

        assert alerts.mails == []

    def test_a_mail_that_could_not_be_sent_fails_the_look_and_is_sent_by_the_next(
        self, monitored: MonitoredTables, mails, load, monkeypatch
    ):
        monitored.cycle(datetime.now(timezone.utc) - 25 * MINUTE)
        dag = load(FRESHNESS)
        with monkeypatch.context() as dead:
            dead.setenv("AIRFLOW__SMTP__SMTP_PORT", str(free_port()))
            with pytest.raises(AirflowFailException, match="could not be sent"):
                attempt(scheduled_run(dag, NOW), dag.get_task("freshness"))
        attempt(scheduled_run(dag, NOW + 5 * MINUTE), dag.get_task("freshness"))

        assert subjects(mails) == ["Warning: 9 tables are more than 20 minutes late"]


def postgres_fields(connection: PostgresConnection) -> dict[str, object]:
    secret = connection.password.get_secret_value()
    address = {"host": connection.host, "port": connection.port, "login": connection.user, "password": secret}
    return {"conn_type": "postgres", **address, "schema": connection.database}


def set_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    address = f'"host": "127.0.0.1", "port": {free_port()}, "login": "x", "schema": "x"'
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_DEFAULT", f'{{"conn_type": "postgres", {address}}}')


@contextmanager
def scheduler_and_dag(*, paused: bool) -> Iterator[None]:
    """An Airflow whose scheduler is alive and which has the offload's DAG."""
    from airflow.jobs.job import Job

    with create_session() as session:
        job = Job(job_type="SchedulerJob", state="running")
        job.start_date = job.latest_heartbeat = datetime.now(timezone.utc)
        session.add(job)
        session.merge(known_dag(OFFLOAD, "offload.py", paused=paused))
    try:
        yield
    finally:
        forget(Job)
        forget_dag(OFFLOAD)


def test_airflow_tells_since_when_a_cycle_is_at_work(load: Callable[[str], DAG]) -> None:
    run = scheduled_run(load(OFFLOAD), NOW)
    with scheduler_and_dag(paused=False):
        cycles = offload_cycles()

    assert cycles is not None
    assert run.start_date is not None
    assert (cycles.scheduler_alive, cycles.is_known, cycles.is_paused) == (True, True, False)
    assert cycles.running_since == cycles.last_started == run.start_date
