"""The weekly report as Airflow runs it: what its own database tells, the file, and a real mail server."""

from __future__ import annotations

import gc
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from offload_airflow.compat.history import airflow_history
from offload_airflow.compat.sdk import AirflowFailException
from offload_core.config.connections import PostgresConnection
from offload_core.errors import LedgerUnavailable, MailUnavailable
from offload_core.ledger.session import connect
from offload_ops.report.airflow_history import Cycle
from tests.support.fakes.mail_server import OTHER_BACKEND, PASSWORD, free_port
from tests.support.ledger.week_of_ledger import BINANCE, DAY, HOUR, MINUTE, MONDAY, PERIOD, SILVER, W08, WrittenLedger
from tests.support.stack.airflow_version import dag_run, forget, parsed
from tests.support.stack.runs import attempt, manual_run, scheduled_run

if TYPE_CHECKING:
    from offload_airflow.compat.sdk import DAG

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("airflow_database")]

QUARTER = "*/15 * * * *"
OFFLOAD, REPORT = "iceberg_offload", "iceberg_offload_report"
TO = ["ops@example.com", "data@example.com"]


def add_run(dag_id: str, due: datetime, state: str, run_type: str = "scheduled", prefix: str | None = None) -> None:
    from airflow.utils.session import create_session

    run_id = f"{prefix or run_type}__{due.isoformat()}"
    with create_session() as session:
        session.add(dag_run(dag_id, run_id, due - PERIOD, due, run_type=run_type, state=state))


def add_scheduler(started: datetime, state: str = "success", heartbeat: datetime | None = None) -> None:
    from airflow.jobs.job import Job
    from airflow.utils.session import create_session

    with create_session() as session:
        job = Job(job_type="SchedulerJob", state=state)
        job.start_date, job.latest_heartbeat = started, heartbeat or started
        session.add(job)


@pytest.fixture
def clean_airflow() -> Iterator[None]:
    """No runs and no schedulers but the test's own."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    from airflow.jobs.job import Job
    from airflow.models.dagrun import DagRun

    forget(Job, DagRun)


@pytest.mark.usefixtures("clean_airflow")
class TestAirflowsDatabase:
    def test_a_cycle_is_due_every_quarter_of_an_hour_from_the_first_moment_on(self):
        due = airflow_history(OFFLOAD, QUARTER, W08).due

        assert (due[0], due[-1], len(due)) == (MONDAY, W08.end - PERIOD, 672)
        assert all(type(moment) is datetime for moment in due)

    @pytest.mark.parametrize(
        ("schedule", "first", "count"),
        [("7 * * * *", 7 * MINUTE, 168), ("@daily", timedelta(), 7), ("0 9 * * 1", 9 * HOUR, 1)],
    )
    def test_any_schedule_is_counted(self, schedule, first, count):
        due = airflow_history(OFFLOAD, schedule, W08).due

        assert (due[0] - MONDAY, len(due)) == (first, count)

    def test_cycles_are_those_that_the_scheduler_made_by_itself(self):
        add_run(OFFLOAD, MONDAY - PERIOD, "success")
        add_run(OFFLOAD, MONDAY, "success")
        add_run(OFFLOAD, MONDAY + PERIOD, "failed")
        add_run(OFFLOAD, MONDAY + 2 * PERIOD, "success", "manual")
        add_run(OFFLOAD, MONDAY + 3 * PERIOD, "success", "backfill")
        add_run(OFFLOAD, MONDAY + 4 * PERIOD, "success", "scheduled", prefix="backfill")
        add_run(OFFLOAD, W08.end, "success")
        add_run("another_dag", MONDAY + PERIOD, "success")

        history = airflow_history(OFFLOAD, QUARTER, W08)

        assert history.cycles == [Cycle(MONDAY, "success"), Cycle(MONDAY + PERIOD, "failed")]
        assert history.first_due == MONDAY - PERIOD

    def test_every_start_of_a_scheduler_but_the_first_is_a_restart(self):
        for started in (MONDAY, MONDAY + DAY, MONDAY + 2 * DAY, W08.end):
            add_scheduler(started)

        assert airflow_history(OFFLOAD, QUARTER, W08).restarts == [MONDAY + DAY, MONDAY + 2 * DAY]

    def test_the_scheduler_is_up_since_the_oldest_living_one_was_started(self):
        now = datetime.now(timezone.utc)
        add_scheduler(MONDAY, "running", now - HOUR)
        assert airflow_history(OFFLOAD, QUARTER, W08).up_since is None

        add_scheduler(MONDAY + 2 * DAY, "running", now)
        add_scheduler(MONDAY + DAY, "running", now)
        assert airflow_history(OFFLOAD, QUARTER, W08).up_since == MONDAY + DAY

    def test_without_any_run_or_scheduler_there_is_nothing_to_tell(self):
        history = airflow_history(OFFLOAD, QUARTER, W08)

        assert (history.first_due, history.cycles, history.restarts, history.up_since) == (None, [], [], None)


@pytest.fixture
def dag() -> DAG:
    dag: DAG = parsed().get_dag(REPORT)
    return dag


@pytest.fixture
def week(connect_postgres: PostgresConnection, pipeline: str, clean_airflow: None) -> Iterator[WrittenLedger]:
    """A week of 100 rows a cycle with two failed attempts, a halt and a cycle that failed; Airflow has its cycles."""
    assert clean_airflow is None
    with connect(connect_postgres) as session:
        written = WrittenLedger(session, pipeline)
        written.ordinary_week(BINANCE)
        written.add(BINANCE, MONDAY + DAY, "failure", error_kind="clickhouse_connection")
        written.add(BINANCE, MONDAY + DAY + MINUTE, "repair", rows=42)
        written.add(SILVER, MONDAY, "init")
        written.add(SILVER, MONDAY + 6 * DAY, "halt", message="Iceberg lacks <3> rows.")
        for number in range(8):
            add_run(OFFLOAD, MONDAY + number * PERIOD, "failed" if number == 3 else "success")
        yield written


@pytest.fixture
def configure(set_variable: Callable[[str, object], None], pipeline: str, tmp_path: Path) -> Callable[..., Path]:
    """Sets the report's settings and returns the file that it is to write."""

    def configure(**settings: object) -> Path:
        folder = tmp_path / "reports"
        set_variable("iceberg_offload_settings", {"pipeline_id": pipeline, "report_folder": str(folder), **settings})
        return folder / f"{pipeline.replace('_', '-')}-2026-W08.html"

    return configure


def run_report(dag: DAG) -> Any:
    """One attempt at the report on 2026-W08, as scheduled on the Monday after it."""
    return attempt(scheduled_run(dag, W08.end + 9 * HOUR), dag.get_task("report"))


@pytest.mark.usefixtures("week")
class TestTheTask:
    def test_the_report_is_written_to_a_file_and_mailed_to_nobody_unless_somebody_is_named(
        self, dag, configure, mails, caplog
    ):
        path = configure()

        with caplog.at_level(logging.INFO):
            instance = run_report(dag)

        assert instance.state == "success"
        assert instance.xcom_pull(task_ids="report") == str(path)
        assert "67,200" in path.read_text()
        assert mails.mails == []
        assert "Not mailed: the setting `report_recipients` is empty." in caplog.text
        assert "Iceberg offload, 2026-W08" in caplog.text

    def test_a_mail_has_text_html_and_the_pictures_that_the_html_names(self, dag, configure, mails):
        configure(report_recipients=TO)

        assert run_report(dag).state == "success"

        (mail,) = mails.mails
        assert (mail.sender, mail.recipients) == ("airflow@example.com", TO)
        assert mail.message["Subject"].startswith("Iceberg offload, 2026-W08: ")
        assert mail.message["Subject"].endswith("things need attention")
        assert mail.message["To"] == ", ".join(TO)
        assert mail.message.get_content_type() == "multipart/alternative"
        types = [part.get_content_type() for part in mail.message.walk() if not part.is_multipart()]
        assert types == ["text/plain", "text/html", "image/png", "image/png", "image/png"]
        html = mail.part("text/html").get_content()
        for picture in (part for part in mail.message.walk() if part.get_content_type() == "image/png"):
            name = picture["Content-ID"].strip("<>")
            assert f'src="cid:{name}"' in html
            assert picture.get_content_disposition() == "inline"
            assert picture.get_content().startswith(b"\x89PNG")
        assert html.count("cid:") == 3

    def test_the_mail_the_file_and_the_log_have_the_same_figures(self, dag, configure, mails, caplog):
        path = configure(report_recipients=TO)

        with caplog.at_level(logging.INFO):
            run_report(dag)

        (mail,) = mails.mails
        texts = [
            mail.part("text/plain").get_content(),
            mail.part("text/html").get_content(),
            path.read_text(),
            caplog.text,
        ]
        figures = (
            "67,200",
            "87.50 %",
            "7 of 8 cycles after retries",
            "8 of 672 due cycles started",
            "clickhouse_connection",
            "42",
        )
        for text in texts:
            assert [figure for figure in figures if figure not in text] == []
        assert "Iceberg lacks &lt;3&gt; rows." in texts[1]
        assert "Iceberg lacks <3> rows." in texts[0]

    def test_no_password_is_in_the_mail_the_file_or_the_log(self, dag, configure, mails, caplog, connect_postgres):
        path = configure(report_recipients=TO)

        with caplog.at_level(logging.DEBUG):
            run_report(dag)

        for secret in (PASSWORD, connect_postgres.password.get_secret_value()):
            for text in (path.read_text(), mails.mails[0].message.as_string(), caplog.text):
                assert secret not in text

    def test_a_run_by_hand_is_about_the_last_week_that_is_over(self, dag, configure, tmp_path):
        configure()
        now = datetime.now(timezone.utc)

        instance = attempt(manual_run(dag, now), dag.get_task("report"))

        year, week, _ = (now - 7 * DAY).isocalendar()
        assert str(instance.xcom_pull(task_ids="report")).endswith(f"-{year}-W{week:02}.html")
        assert len(list((tmp_path / "reports").iterdir())) == 1

    def test_another_attempt_writes_the_same_file_again(self, dag, configure):
        path = configure()
        run = scheduled_run(dag, W08.end + 9 * HOUR)
        attempt(run, dag.get_task("report"))
        path.write_text("half a report")

        attempt(run, dag.get_task("report"))

        assert "67,200" in path.read_text()
        assert [file.name for file in path.parent.iterdir()] == [path.name]

    def test_reports_go_to_airflows_home_unless_the_settings_say_otherwise(self, dag, configure):
        from airflow.configuration import AIRFLOW_HOME

        configure(report_folder=None)

        path = Path(run_report(dag).xcom_pull(task_ids="report"))

        assert path.parent == Path(AIRFLOW_HOME, "reports")
        path.unlink()


@contextmanager
def fails(kind: type[Exception], match: str | None = None) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """What the block does ends in this error.

    Airflow does not close its connection to a mail server that has refused something. The garbage collector does, here.
    """
    with pytest.raises(kind, match=match) as failure:
        yield failure
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        error: BaseException | None = failure.value
        while error is not None:
            traceback.clear_frames(error.__traceback__)
            error = error.__cause__
        gc.collect()


@pytest.mark.usefixtures("week")
class TestWhatGoesWrong:
    def test_a_dead_mail_server_fails_the_task_after_its_retries_and_the_file_is_there(
        self, dag, configure, mails, monkeypatch
    ):
        path = configure(report_recipients=TO)
        monkeypatch.setenv("AIRFLOW__SMTP__SMTP_PORT", str(free_port()))
        run, task = scheduled_run(dag, W08.end + 9 * HOUR), dag.get_task("report")

        states = []
        for _ in range(3):
            with fails(MailUnavailable, match=r"Connection refused.*\[smtp\]"):
                attempt(run, task)
            states.append(run.get_task_instance("report").state)

        assert states == ["up_for_retry", "up_for_retry", "failed"]
        assert "67,200" in path.read_text()
        assert mails.mails == []

    @pytest.mark.usefixtures("mails")
    def test_a_refused_password_is_not_tried_again(self, dag, configure, set_connection):
        configure(report_recipients=TO)
        set_connection("smtp_default", conn_type="smtp", login="offload", password="an old one")

        with fails(AirflowFailException, match="refused the user or the password") as failure:
            run_report(dag)

        assert "an old one" not in str(failure.value)
        assert "smtp_default" in str(failure.value)

    def test_unknown_recipients_are_named_and_not_tried_again(self, dag, configure, mails):
        configure(report_recipients=TO)
        mails.refusals = dict.fromkeys(TO, "550 No such user")

        with fails(AirflowFailException, match=r"does not accept mail for ops@example\.com, data@example\.com"):
            run_report(dag)

    def test_recipients_that_are_put_off_are_tried_again(self, dag, configure, mails):
        configure(report_recipients=TO)
        mails.refusals = dict.fromkeys(TO, "450 Come back later")

        with fails(MailUnavailable):
            run_report(dag)

    @pytest.mark.usefixtures("mails")
    def test_a_mail_without_a_sender_says_what_to_set(self, dag, configure, monkeypatch):
        configure(report_recipients=TO)
        monkeypatch.setenv("AIRFLOW__SMTP__SMTP_MAIL_FROM", "")

        with fails(AirflowFailException, match="smtp_mail_from"):
            run_report(dag)

    def test_a_folder_that_cannot_be_made_says_which_setting(self, dag, configure, tmp_path):
        (tmp_path / "file").write_text("")
        configure(report_folder=str(tmp_path / "file" / "reports"))

        with fails(AirflowFailException, match="report_folder"):
            run_report(dag)

    def test_a_ledger_that_cannot_be_reached_is_tried_again(self, dag, configure, set_connection):
        configure()
        set_connection(
            "postgres_default", conn_type="postgres", host="127.0.0.1", port=free_port(), login="x", schema="x"
        )

        with fails(LedgerUnavailable):
            run_report(dag)


@pytest.mark.usefixtures("week")
def test_another_mail_backend_gets_the_html_and_the_pictures_as_files(dag, configure, monkeypatch):
    configure(report_recipients=TO)
    monkeypatch.setenv("AIRFLOW__EMAIL__EMAIL_BACKEND", "tests.support.fakes.mail_server.other_backend")
    OTHER_BACKEND.clear()

    assert run_report(dag).state == "success"

    (sent,) = OTHER_BACKEND
    assert sent["to"] == ", ".join(TO)
    assert sent["mime_subtype"] == "related"
    assert set(sent["files"]) == {"lag.png", "rows.png", "late-rows.png"}
    assert all(f'src="cid:{name}"' in sent["html"] for name in sent["files"])
