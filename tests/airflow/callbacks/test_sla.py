"""What is logged when Airflow notices that a table is late."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from sqlalchemy import select

from offload_airflow.callbacks.sla import deadline_missed, sla_miss_callback
from offload_core.config.connections import PostgresConnection
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.rows import Step, StepKind
from offload_core.protocol.window import ORIGIN
from tests.support.checkout import CHECKOUT
from tests.support.fakes.mail_server import MailServer, silent_server
from tests.support.ledger.monitored_stack import TABLES, MonitoredTables, subjects, text
from tests.support.stack.airflow_connections import SetConnection
from tests.support.stack.airflow_version import AIRFLOW_3, forget, parsed
from tests.support.stack.runs import quiet, scheduled_run

pytestmark = pytest.mark.integration

LATE = "bronze_trades_binance"


def miss(caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.set_level(logging.INFO)
    if AIRFLOW_3:
        run = {"dag_id": "iceberg_offload", "dag_run_id": "scheduled__1", "start_date": "2026-01-01T00:00:00Z"}
        deadline_missed({"dag_run": run, "deadline": {"id": "1", "deadline_time": "2026-01-01T00:05:00Z"}})
    else:
        dag = SimpleNamespace(dag_id="iceberg_offload")
        sla_miss_callback(dag, "", "", [SimpleNamespace(task_id=f"bronze.offload_{LATE}")], [])
    return caplog.messages


def offload(ledger: Ledger, table: str) -> None:
    ledger.initialize(table)
    step = Step(StepKind.INCREMENT, ORIGIN, generation=0, source_uuid=None, run_id="r", attempt=1, rows=3)
    ledger.append(ledger.watermark(table), step)


def test_the_lag_of_every_table_is_logged_with_its_level(
    connect_postgres: PostgresConnection, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    assert connect_postgres
    offload(ledger, LATE)
    messages = miss(caplog)
    assert messages[0] == (
        "Deadline missed in iceberg_offload by scheduled__1."
        if AIRFLOW_3
        else f"SLA missed in iceberg_offload by bronze.offload_{LATE}."
    )
    assert any(message.startswith(f"{LATE}: lag 0.0 minutes (Normal), last offloaded ") for message in messages)
    assert "silver_trades: Watermark not found for table: silver_trades." in messages
    assert sum(message.partition(":")[0] in TABLES for message in messages) == 9


def test_a_failure_since_is_logged_beside_the_lag(
    connect_postgres: PostgresConnection, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    assert connect_postgres
    offload(ledger, LATE)
    ledger.record_failure(LATE, "clickhouse_connection", "ClickHouse is down.", run_id="r", attempt=1)
    assert any(message.endswith("failed: ClickHouse is down.") for message in miss(caplog))


@pytest.mark.usefixtures("pipeline")
def test_it_never_raises_because_airflow_would_call_it_again_at_every_check(
    set_connection: SetConnection, caplog: pytest.LogCaptureFixture
) -> None:
    # Nobody listens on port 1.
    set_connection("postgres_default", conn_type="postgres", host="127.0.0.1", port=1, login="me", schema="offload")
    messages = miss(caplog)
    assert messages[-1].startswith("Notification about late tables failed")


def test_it_mails_what_is_late_once_however_often_airflow_calls(
    monitored: MonitoredTables, mails: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    monitored.cycle(datetime.now(timezone.utc) - timedelta(minutes=25))
    miss(caplog)
    miss(caplog)

    assert subjects(mails) == ["Warning: 9 tables are more than 20 minutes late"]


@pytest.mark.usefixtures("monitored")
def test_a_mail_server_that_takes_the_call_and_says_nothing_does_not_hold_it_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("offload_airflow.callbacks.sla.CALLBACK_SECONDS", 2.0)
    with silent_server() as port:
        monkeypatch.setenv("AIRFLOW__SMTP__SMTP_PORT", str(port))
        messages = miss(caplog)

    assert messages[-1].startswith("Notification about late tables failed")
    assert "It took longer than 2 seconds." in caplog.text


@pytest.mark.skipif(AIRFLOW_3, reason="it has deadlines of runs: see below")
def test_airflow_calls_it_when_no_run_has_come_for_long_and_its_check_after_that_tells_nothing_new(
    monitored: MonitoredTables, mails: MailServer
) -> None:
    from airflow.dag_processing.processor import DagFileProcessor
    from airflow.models.slamiss import SlaMiss

    now = datetime.now(timezone.utc)
    due = now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0) - timedelta(minutes=30)
    monitored.cycle(now - timedelta(minutes=35))
    dag = parsed().get_dag("iceberg_offload")
    with past_runs(SlaMiss), create_session() as session:
        for instance in scheduled_run(dag, due).get_task_instances(session=session):
            instance.state = "success"
        session.commit()
        for _ in range(2):
            with quiet():
                DagFileProcessor.manage_slas(str(CHECKOUT / "dags"), "iceberg_offload", session=session)
        misses = session.scalars(select(SlaMiss)).all()

        assert {miss.task_id for miss in misses} >= {f"bronze.offload_{LATE}", "silver.offload_silver_trades"}
        assert all(miss.notification_sent for miss in misses)
    assert subjects(mails) == ["Critical: 9 tables are more than 30 minutes late"]


@pytest.mark.skipif(not AIRFLOW_3, reason="2.11 has SLAs of tasks: see above")
def test_airflow_calls_it_when_a_run_has_not_ended_five_minutes_after_it_was_queued(
    monitored: MonitoredTables, mails: MailServer
) -> None:
    from airflow.models.callback import Callback
    from airflow.models.deadline import Deadline

    now = datetime.now(timezone.utc)
    monitored.cycle(now - timedelta(minutes=35))
    with past_runs(Deadline, Callback), create_session() as session:
        run = session.merge(scheduled_run(parsed().get_dag("iceberg_offload"), now, queued=True))
        (deadline,) = session.scalars(select(Deadline).where(Deadline.dagrun_id == run.id)).all()
        assert abs(deadline.deadline_time - now - timedelta(minutes=5)) < timedelta(seconds=30)

        run.state, run.start_date = "running", now
        session.flush()
        deadline.handle_miss(session)
        data = dict(deadline.callback.data)
        session.commit()
        ended, error = executed(data)

        assert (ended, error) == (True, None)
    assert subjects(mails) == ["Critical: 9 tables are more than 30 minutes late"]
    assert "is still running" in text(mails)


def executed(data: dict[str, Any]) -> tuple[bool, str | None]:
    """What became of a callback, run as an executor runs it."""
    import structlog
    from airflow.sdk.execution_time.callback_supervisor import execute_callback

    kwargs = json.loads(json.dumps(data["kwargs"], default=str))
    return execute_callback(data["path"], kwargs, "", None, structlog.get_logger())


@contextmanager
def past_runs(*models: Any) -> Iterator[None]:
    """What is left of runs is gone afterwards."""
    try:
        yield
    finally:
        forget(*models, TaskInstance, DagRun)
