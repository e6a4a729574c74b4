"""Airflow's Connections become the offload's, and say what is wrong with them without a value."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from offload_airflow.compat.secrets import require_connection
from offload_airflow.hooks.connections import (
    clickhouse_connection,
    iceberg_connection,
    load_connections,
    postgres_connection,
)
from offload_core.config.connections import ClickHouseConnection, IcebergConnection
from offload_core.config.settings import Settings
from offload_core.errors import FixConfiguration
from tests.support.checkout import CHECKOUT
from tests.support.stack.airflow_connections import SetConnection
from tests.support.stack.airflow_home import process_environment

pytestmark = pytest.mark.usefixtures("airflow_database")

NATIVE = {"conn_type": "clickhouse", "host": "ch", "port": 9001, "login": "me", "password": "s3cret", "schema": "k3"}
CATALOG = {"type": "jdbc", "uri": "jdbc:postgresql://pg/offload", "warehouse": "file:///warehouse"}


def clickhouse() -> ClickHouseConnection:
    return clickhouse_connection(Settings())


def test_one_native_connection_is_enough_for_both_protocols(set_connection: SetConnection) -> None:
    set_connection("clickhouse_default", **NATIVE)
    found = clickhouse()
    assert (found.host, found.native_port, found.http_port) == ("ch", 9001, 8123)
    assert (found.user, found.password.get_secret_value(), found.database) == ("me", "s3cret", "k3")
    assert found.secure is False


def test_a_secure_native_connection_means_https_on_its_usual_port(set_connection: SetConnection) -> None:
    set_connection("clickhouse_default", **NATIVE, extra={"secure": "true"})
    assert (clickhouse().secure, clickhouse().http_port) == (True, 8443)


def test_the_http_connection_goes_before_for_everything_but_the_native_port(set_connection: SetConnection) -> None:
    set_connection("clickhouse_default", **NATIVE)
    set_connection(
        "clickhouse_http",
        conn_type="http",
        schema="https",
        host="front",
        port=443,
        login="you",
        password="other",
        extra={"database": "k4"},
    )
    found = clickhouse()
    assert (found.host, found.http_port, found.native_port) == ("front", 443, 9001)
    assert (found.user, found.password.get_secret_value(), found.database) == ("you", "other", "k4")
    assert found.secure is True


def test_what_the_http_connection_leaves_open_is_as_in_the_native_one(set_connection: SetConnection) -> None:
    set_connection("clickhouse_default", **NATIVE)
    set_connection("clickhouse_http", conn_type="http", schema="http", host="front", port=8124)
    found = clickhouse()
    assert (found.user, found.password.get_secret_value(), found.database) == ("me", "s3cret", "k3")
    assert (found.host, found.http_port, found.secure) == ("front", 8124, False)


def test_the_ledgers_database_is_the_schema_of_its_connection(set_connection: SetConnection) -> None:
    set_connection("pg", conn_type="postgres", host="pg", login="me", schema="offload", extra={"sslmode": "require"})
    found = postgres_connection(require_connection("pg"))
    assert (found.host, found.port, found.database, found.sslmode) == ("pg", 5432, "offload", "require")


def iceberg() -> IcebergConnection:
    return iceberg_connection(require_connection("iceberg_default"))


def test_the_catalog_is_in_the_extras(set_connection: SetConnection) -> None:
    extra = {**CATALOG, "name": "lake", "properties": {"jdbc.schema-version": "V1"}}
    set_connection("iceberg_default", conn_type="generic", login="me", password="s3cret", extra=extra)
    found = iceberg()
    assert (found.name, found.type, found.uri, found.warehouse) == (
        "lake",
        "jdbc",
        CATALOG["uri"],
        CATALOG["warehouse"],
    )
    assert (found.user, found.password.get_secret_value()) == ("me", "s3cret")
    assert found.properties == {"jdbc.schema-version": "V1"}


def test_the_catalogs_uri_may_be_the_host(set_connection: SetConnection) -> None:
    extra = {"type": "rest", "warehouse": "s3://lake"}
    set_connection("iceberg_default", conn_type="generic", host="https://catalog.example.org", extra=extra)
    assert iceberg().uri == "https://catalog.example.org"


def test_a_wrong_connection_names_the_field_and_never_a_value(set_connection: SetConnection) -> None:
    extra = {**CATALOG, "type": "sqlite", "passwort": "s3cret"}
    set_connection("iceberg_default", conn_type="generic", password="s3cret", extra=extra)
    with pytest.raises(FixConfiguration, match=r"`iceberg_default` is wrong: .*type: ") as caught:
        iceberg()
    assert "passwort" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("missing", ["clickhouse_default", "postgres_default", "iceberg_default"])
def test_a_missing_connection_is_named(
    set_connection: SetConnection, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    set_connection("clickhouse_default", **NATIVE)
    set_connection("postgres_default", conn_type="postgres", host="pg", login="me", schema="offload")
    set_connection("iceberg_default", conn_type="generic", extra=CATALOG)
    assert load_connections(Settings())
    monkeypatch.delenv(f"AIRFLOW_CONN_{missing.upper()}")
    with pytest.raises(FixConfiguration, match=f"The Airflow Connection `{missing}` does not exist"):
        load_connections(Settings())


_LOOK_UP = """
from offload_airflow.compat.secrets import find_connection
find_connection("clickhouse_http")
"""


def test_a_database_that_cannot_be_reached_is_an_error_and_not_a_missing_connection(tmp_path: Path) -> None:
    # Nobody listens on port 1.
    database = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://airflow:x@127.0.0.1:1/airflow"}
    result = subprocess.run(
        [sys.executable, "-c", _LOOK_UP],
        env=process_environment(tmp_path) | database | {"PYTHONPATH": str(CHECKOUT / "plugins")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "OperationalError" in result.stderr
    assert "FixConfiguration" not in result.stderr
