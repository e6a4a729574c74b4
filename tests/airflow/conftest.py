"""The tests' own Airflow, with Connections to real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from offload_core.config.connections import PostgresConnection
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import connect
from tests.support.fakes.mail_server import PASSWORD, MailServer, mail_server
from tests.support.fakes.spark import FakeSpark, install
from tests.support.ledger.monitored_stack import configure_alerts, monitored
from tests.support.stack.airflow_connections import (
    CLICKHOUSE_SECRET,
    ICEBERG_SECRET,
    SetConnection,
    set_connection,
)
from tests.support.stack.airflow_home import airflow_database, set_variable
from tests.support.stack.servers import clickhouse, ledger_database, unique_name

__all__ = [
    "airflow_database",
    "clickhouse",
    "configure_alerts",
    "ledger_database",
    "monitored",
    "set_connection",
    "set_variable",
]


@pytest.fixture
def pipeline(set_variable: Callable[[str, object], None]) -> str:
    """The id of this test's own pipeline, and the settings with it."""
    name = unique_name("test")
    set_variable("iceberg_offload_settings", {"pipeline_id": name})
    return name


@pytest.fixture
def ledger(ledger_database: PostgresConnection, pipeline: str) -> Iterator[Ledger]:
    """The ledger of the test's pipeline."""
    with connect(ledger_database) as session:
        yield Ledger(session, pipeline)


@pytest.fixture
def connect_postgres(set_connection: SetConnection, ledger_database: PostgresConnection) -> PostgresConnection:
    """The Connection to the ledger's database."""
    set_connection(
        "postgres_default",
        conn_type="postgres",
        host=ledger_database.host,
        port=ledger_database.port,
        login=ledger_database.user,
        password=ledger_database.password.get_secret_value(),
        schema=ledger_database.database,
    )
    return ledger_database


@pytest.fixture
def spark(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    set_connection: SetConnection,
    connect_postgres: PostgresConnection,
    pipeline: str,
) -> FakeSpark:
    """A fake Spark, and the Connections a job needs."""
    assert connect_postgres
    assert pipeline
    fake = install(tmp_path / "spark")
    monkeypatch.setenv("OFFLOAD_SPARK_HOME", str(fake.home))
    # Not a folder, so that no application is shared.
    monkeypatch.setenv("OFFLOAD_SPARK_SHARE", str(fake.home / "bin" / "spark-submit"))
    monkeypatch.setenv("OFFLOAD_SPARK_PYTHON", "/opt/spark-env/bin/python")
    monkeypatch.setenv("OFFLOAD_JAVA_HOME", "/opt/java")
    monkeypatch.setenv("OFFLOAD_SPARK_JARS", "/opt/jars/iceberg.jar")
    set_connection("spark_default", conn_type="spark", host="local[*]", extra={"deploy-mode": "client"})
    set_connection("clickhouse_default", conn_type="clickhouse", host="ch", login="offload", password=CLICKHOUSE_SECRET)
    set_connection(
        "iceberg_default",
        conn_type="generic",
        login="iceberg",
        password=ICEBERG_SECRET,
        extra={"type": "jdbc", "uri": "jdbc:postgresql://pg/offload", "warehouse": "file:///warehouse"},
    )
    return fake


@pytest.fixture
def mails(monkeypatch: pytest.MonkeyPatch, set_connection: SetConnection) -> Iterator[MailServer]:
    """A mail server, and an Airflow that is configured to use it."""
    with mail_server() as server:
        monkeypatch.setenv("AIRFLOW__SMTP__SMTP_HOST", "127.0.0.1")
        monkeypatch.setenv("AIRFLOW__SMTP__SMTP_PORT", str(server.port))
        monkeypatch.setenv("AIRFLOW__SMTP__SMTP_STARTTLS", "False")
        monkeypatch.setenv("AIRFLOW__SMTP__SMTP_MAIL_FROM", "airflow@example.com")
        monkeypatch.setenv("AIRFLOW__SMTP__SMTP_TIMEOUT", "5")
        set_connection("smtp_default", conn_type="smtp", host="127.0.0.1", login="offload", password=PASSWORD)
        yield server
