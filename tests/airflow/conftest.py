"""An Airflow of the tests' own, with Connections to real servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from offload_core.config.connections import ClickHouseConnection, Connections, PostgresConnection
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import connect
from tests.support.fakes.mail_server import PASSWORD, MailServer, mail_server
from tests.support.fakes.spark import FakeSpark, install
from tests.support.ledger.monitored_stack import configure_alerts, watched
from tests.support.stack.airflow_home import airflow_database, set_variable
from tests.support.stack.servers import clickhouse, ledger_database, unique_name

__all__ = [
    "airflow_database",
    "clickhouse",
    "configure_alerts",
    "ledger_database",
    "set_variable",
    "watched",
]

SetConnection = Callable[..., None]

CLICKHOUSE_SECRET, ICEBERG_SECRET = "Cl1ck'hou$e\" secret", "1ceberg secret"


@pytest.fixture
def set_connection(monkeypatch: pytest.MonkeyPatch) -> SetConnection:
    """Defines an Airflow Connection for one test."""

    def set_connection(conn_id: str, **fields: object) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    return set_connection


@pytest.fixture
def pipeline(set_variable: Callable[[str, object], None]) -> str:
    """The id of a pipeline that this test has for itself, and the settings that say so."""
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
    # No folder: the fake runs as an application of the job's own.
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
    """A mail server, and an Airflow that knows it."""
    with mail_server() as server:
        monkeypatch.setenv("AIRFLOW__SMTP__SMTP_HOST", "127.0.0.1")
        monkeypatch.setenv("AIRFLOW__SMTP__SMTP_PORT", str(server.port))
        monkeypatch.setenv("AIRFLOW__SMTP__SMTP_STARTTLS", "False")
        monkeypatch.setenv("AIRFLOW__SMTP__SMTP_MAIL_FROM", "airflow@example.com")
        monkeypatch.setenv("AIRFLOW__SMTP__SMTP_TIMEOUT", "5")
        set_connection("smtp_default", conn_type="smtp", host="127.0.0.1", login="offload", password=PASSWORD)
        yield server


def clickhouse_fields(connection: ClickHouseConnection) -> dict[str, object]:
    """The fields of a Connection for airflow-clickhouse-plugin."""
    return {
        "conn_type": "clickhouse",
        "host": connection.host,
        "port": connection.native_port,
        "login": connection.user,
        "password": connection.password.get_secret_value(),
        "schema": connection.database,
        "extra": {"secure": connection.secure},
    }


def http_fields(connection: ClickHouseConnection) -> dict[str, object]:
    """The fields of the Connection to the same ClickHouse over HTTP."""
    login = {"login": connection.user, "password": connection.password.get_secret_value()}
    address = {"host": connection.host, "port": connection.http_port, "schema": "http"}
    return {"conn_type": "http", **address, **login, "extra": {"database": connection.database}}


def set_connections(connections: Connections, set_connection: SetConnection) -> None:
    """Give Airflow the Connections of a world's servers."""
    hot, ledger, iceberg = connections.clickhouse, connections.postgres, connections.iceberg
    set_connection("clickhouse_default", **clickhouse_fields(hot))
    set_connection("clickhouse_http", **http_fields(hot))
    login = {"login": ledger.user, "password": ledger.password.get_secret_value()}
    set_connection(
        "postgres_default", conn_type="postgres", host=ledger.host, port=ledger.port, schema=ledger.database, **login
    )
    extra = {"name": iceberg.name, "type": "jdbc", "uri": iceberg.uri, "warehouse": iceberg.warehouse}
    set_connection("iceberg_default", conn_type="generic", extra={**extra, "properties": iceberg.properties}, **login)
