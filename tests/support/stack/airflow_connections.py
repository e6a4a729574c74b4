"""Airflow Connections to the servers of a test, set in the environment."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from offload_core.config.connections import ClickHouseConnection, Connections

SetConnection = Callable[..., None]

CLICKHOUSE_SECRET, ICEBERG_SECRET = "Cl1ck'hou$e\" secret", "1ceberg secret"
"""Passwords with characters that need quoting."""


@pytest.fixture
def set_connection(monkeypatch: pytest.MonkeyPatch) -> SetConnection:
    """Defines an Airflow Connection for one test."""

    def set_connection(conn_id: str, **fields: object) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    return set_connection


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
