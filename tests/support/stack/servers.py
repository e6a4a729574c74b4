"""Real servers for the tests: those of the development stack, started for the run, or the user's own.

Take the fixtures into a suite by importing them in its conftest.py:

    from tests.support.stack.servers import clickhouse, ledger_database  # noqa: F401

- `servers` (session; in tests/conftest.py, because all suites share them): the `Connections` of running servers.
- `ledger_database` (session): a PostgreSQL database of this run's own with the ledger's tables, dropped at the end.
- `clickhouse` (session): a ClickHouse database of this run's own with the hot tier's tables, dropped at the end.

The environment variable OFFLOAD_TEST_CONNECTIONS_FILE names a `connections.json` (offload_core.config.connections).
The tests then use those servers and start none. Both users, PostgreSQL's and ClickHouse's, must be allowed to create
databases.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from install.layout import Layout
from offload_core.config.connections import ClickHouseConnection, Connections, PostgresConnection, load_connections
from offload_core.ledger.ddl import statements
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import connect
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.quoting import quote_identifier
from tests.support.checkout import CHECKOUT
from tests.support.reaper import temporary_folder

OWN_SERVERS_ENV = "OFFLOAD_TEST_CONNECTIONS_FILE"
_START_SECONDS = 120


def unique_name(prefix: str) -> str:
    """A name that no other test and no other run uses."""
    return f"{prefix}_{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def servers() -> Iterator[Connections]:
    """ClickHouse, PostgreSQL and a warehouse: the user's own, or new ones that are stopped at the end of the run."""
    own = os.environ.get(OWN_SERVERS_ENV)
    if own:
        yield load_connections({"OFFLOAD_CONNECTIONS_FILE": own})
        return
    with temporary_folder("servers") as folder, _stack(folder) as found:
        yield found


@contextmanager
def _stack(home: Path) -> Iterator[Connections]:
    layout = Layout.of_checkout({**os.environ, "OFFLOAD_HOME": str(home)})
    command = [str(layout.python("devstack")), "-m", "devstack"]
    environ = {**os.environ, "OFFLOAD_HOME": str(home)}
    try:
        _run([*command, "up"], environ)
        yield load_connections({"OFFLOAD_CONNECTIONS_FILE": str(layout.connections_file)})
    finally:
        _run([*command, "down"], environ)


def _run(command: list[str], environ: dict[str, str]) -> None:
    result = subprocess.run(
        command, cwd=CHECKOUT, env=environ, capture_output=True, text=True, timeout=_START_SECONDS, check=False
    )
    if result.returncode:
        raise RuntimeError(
            f"{' '.join(command[-3:])} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}"
        )


@pytest.fixture(scope="session")
def ledger_database(servers: Connections) -> Iterator[PostgresConnection]:
    """A PostgreSQL database with an empty ledger."""
    with postgres_database(servers.postgres, "offload_test") as database:
        with connect(database) as connection:
            Ledger(connection, "any").create(CHECKOUT / "include" / "sql" / "postgres")
        yield database


@contextmanager
def postgres_database(server: PostgresConnection, prefix: str) -> Iterator[PostgresConnection]:
    """A new, empty PostgreSQL database, dropped at the end even if clients are still connected."""
    name = unique_name(prefix)
    _postgres_command(server, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield server.model_copy(update={"database": name})
    finally:
        _postgres_command(server, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _postgres_command(server: PostgresConnection, statement: sql.Composed) -> None:
    with psycopg.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password.get_secret_value(),
        dbname=server.database,
        autocommit=True,
    ) as connection:
        connection.execute(statement)


@dataclass(frozen=True)
class HotTier:
    """A ClickHouse database of the run's own: its connection, and a client for it."""

    connection: ClickHouseConnection
    client: ClickHouse


@pytest.fixture(scope="session")
def clickhouse(servers: Connections) -> Iterator[HotTier]:
    """A ClickHouse database with the hot tier's tables, all empty."""
    with clickhouse_database(servers.clickhouse, "offload_test") as tier:
        for statement in statements(CHECKOUT / "include" / "sql" / "clickhouse"):
            tier.client.command(statement)
        yield tier


@contextmanager
def clickhouse_database(server: ClickHouseConnection, prefix: str) -> Iterator[HotTier]:
    """A new, empty ClickHouse database, dropped at the end."""
    name = unique_name(prefix)
    admin = ClickHouse(server.model_copy(update={"database": "default"}))
    admin.command(f"CREATE DATABASE {quote_identifier(name)}")
    connection = server.model_copy(update={"database": name})
    client = ClickHouse(connection)
    try:
        yield HotTier(connection, client)
    finally:
        client.close()
        admin.command(f"DROP DATABASE {quote_identifier(name)} SYNC")
        admin.close()
