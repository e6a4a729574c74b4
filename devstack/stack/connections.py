"""The connections of the running stack, in the format that every other part of the project reads."""

from __future__ import annotations

import json
from typing import TypedDict

from devstack.stack.files import write_private
from devstack.stack.ports import LOOPBACK
from devstack.stack.secrets_file import Secrets
from install.layout import Layout

DATABASE = "k2"
USER = "offload"


class ClickHouseEntry(TypedDict):
    """The hot tier's entry."""

    host: str
    http_port: int
    native_port: int
    user: str
    password: str
    database: str
    secure: bool


class PostgresEntry(TypedDict):
    """The entry of the ledger's database."""

    host: str
    port: int
    user: str
    password: str
    database: str


class IcebergEntry(TypedDict):
    """The entry of the cold tier's catalog."""

    name: str
    type: str
    uri: str
    warehouse: str
    user: str
    password: str
    properties: dict[str, str]


class StackConnections(TypedDict):
    """The content of `connections.json`, as `offload_core.config.connections` validates it."""

    clickhouse: ClickHouseEntry
    postgres: PostgresEntry
    iceberg: IcebergEntry


def describe(layout: Layout, secrets: Secrets, *, postgres: int, http: int, native: int) -> StackConnections:
    """Return the connections for servers on these ports."""
    password = secrets.postgres_offload
    return {
        "clickhouse": {
            "host": LOOPBACK,
            "http_port": http,
            "native_port": native,
            "user": USER,
            "password": secrets.clickhouse,
            "database": DATABASE,
            "secure": False,
        },
        "postgres": {"host": LOOPBACK, "port": postgres, "user": USER, "password": password, "database": USER},
        "iceberg": {
            "name": "demo",
            "type": "jdbc",
            "uri": f"jdbc:postgresql://{LOOPBACK}:{postgres}/{USER}",
            "warehouse": (layout.home / "warehouse").as_uri(),
            "user": USER,
            "password": password,
            "properties": {"jdbc.schema-version": "V1"},
        },
    }


def store(layout: Layout, connections: StackConnections) -> None:
    """Write `connections.json` (mode 0600)."""
    write_private(layout.connections_file, json.dumps(connections, indent=1))
