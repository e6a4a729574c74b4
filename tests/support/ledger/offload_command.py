"""The operator's command in the test's own process, with real servers.

    from tests.support.ledger.offload_command import context, offload  # noqa: F401

`context` needs the fixtures `servers`, `ledger_database`, `clickhouse` and `pipeline`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from offload_core.config.connections import Connections, PostgresConnection
from offload_core.config.settings import Settings
from offload_core.config.tables import DEFAULT_TABLES
from offload_ops.cli.app import Context, run
from tests.support.stack.servers import HotTier


@dataclass(frozen=True)
class CommandResult:
    """The result of a command."""

    status: int
    out: str
    err: str


Offload = Callable[..., CommandResult]


@pytest.fixture
def context(servers: Connections, ledger_database: PostgresConnection, clickhouse: HotTier, pipeline: str) -> Context:
    """The shipped tables in the test's own pipeline. ClickHouse has all of them, Iceberg none."""
    iceberg = servers.iceberg.model_copy(
        update={
            "type": "jdbc",
            "uri": f"jdbc:postgresql://{ledger_database.host}:{ledger_database.port}/{ledger_database.database}",
            "user": ledger_database.user,
            "password": ledger_database.password,
        }
    )
    connections = Connections(clickhouse=clickhouse.connection, postgres=ledger_database, iceberg=iceberg)
    return Context(connections, DEFAULT_TABLES, Settings(pipeline_id=pipeline))


@pytest.fixture
def offload(context: Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Offload:
    """Runs one command in this process, like `offload`."""
    monkeypatch.setenv("COLUMNS", "160")

    def offload(*arguments: str, context: Context = context) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["offload", *arguments])
        try:
            status = run(lambda: context)
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capsys.readouterr()
        return CommandResult(status, captured.out, captured.err)

    return offload
