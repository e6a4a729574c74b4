"""Airflow's Connections as models of `offload_core.config.connections`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from offload_airflow.compat.sdk import Connection
from offload_airflow.compat.secrets import find_connection, require_connection
from offload_core.config.connections import ClickHouseConnection, Connections, IcebergConnection, PostgresConnection
from offload_core.config.json_text import explain
from offload_core.config.settings import Settings
from offload_core.errors import FixConfiguration

_Model = TypeVar("_Model", bound=BaseModel)


def load_connections(settings: Settings) -> Connections:
    """All servers of a run, including passwords.

    Raises:
        FixConfiguration: a Connection is missing or incomplete; the message never shows a value.
    """
    return Connections(
        clickhouse=clickhouse_connection(settings),
        postgres=postgres_connection(require_connection(settings.postgres_conn_id)),
        iceberg=iceberg_connection(require_connection(settings.iceberg_conn_id)),
    )


def clickhouse_connection(settings: Settings) -> ClickHouseConnection:
    """The hot tier: the native port from `clickhouse_conn_id`, the rest from `clickhouse_http_conn_id` if that exists.

    Without the latter, HTTP goes to the host of the former, on port 8123, or 8443 if it is `secure`. As usual in
    Airflow, the schema of an HTTP Connection is `http` or `https`. Its database is in the extras.

    Raises:
        FixConfiguration: the native Connection is missing, or a field is wrong.
    """
    native = require_connection(settings.clickhouse_conn_id)
    values = _fields(native, user="login", database="schema")
    http = find_connection(settings.clickhouse_http_conn_id)
    if http is not None:
        values |= _fields(http, user="login", http_port="port") | _extras(http, "database")
    secure = _is_secure(http or native)
    values |= {"secure": secure, "http_port": values.get("http_port") or (8443 if secure else 8123)}
    if native.port:
        values["native_port"] = native.port
    return _validated(ClickHouseConnection.model_validate, values, native)


def postgres_connection(connection: Connection) -> PostgresConnection:
    """The ledger's database: host, port, login, password, schema (the database) and `sslmode` from the extras."""
    values = _fields(connection, user="login", database="schema", port="port") | _extras(connection, "sslmode")
    return _validated(PostgresConnection.model_validate, values, connection)


def iceberg_connection(connection: Connection) -> IcebergConnection:
    """The catalog: login, password, and the host as its URI unless the extras have one.

    Extras: `name`, `type`, `uri`, `warehouse` and `properties`.
    """
    values = {"uri": connection.host or "", **connection.extra_dejson, **_fields(connection, user="login")}
    values.pop("host", None)
    return _validated(IcebergConnection.model_validate, values, connection)


def _fields(connection: Connection, **names: str) -> dict[str, Any]:
    """Host, password and the named attributes if they are set. The models have the defaults."""
    names |= {"host": "host", "password": "password"}
    values = {field: getattr(connection, attribute) for field, attribute in names.items()}
    return {field: value for field, value in values.items() if value not in (None, "")}


def _extras(connection: Connection, *names: str) -> dict[str, Any]:
    return {name: connection.extra_dejson[name] for name in names if name in connection.extra_dejson}


def _is_secure(connection: Connection) -> bool:
    secure = connection.extra_dejson.get("secure", connection.schema == "https")
    return str(secure).lower() in ("true", "1")


def _validated(validate: Callable[[Any], _Model], values: dict[str, Any], connection: Connection) -> _Model:
    try:
        return validate(values)
    except ValidationError as error:
        raise FixConfiguration(
            f"The Airflow Connection `{connection.conn_id}` is wrong: {explain(error)}.", "Correct it there."
        ) from error
