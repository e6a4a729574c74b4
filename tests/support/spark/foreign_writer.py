"""Another user of the Iceberg tables, who works on them with Spark SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import pytest

from offload_core.config.connections import Connections
from offload_core.config.tables import TableConfig
from tests.support.spark.operated_table import OperatedTrades
from tests.support.spark.process import spark_process
from tests.support.spark.world import World, new_world


class ForeignWriter:
    """A Spark session without any code of the offload."""

    def __init__(self, connection: Connection, catalog: str) -> None:
        self._connection = connection
        self._catalog = catalog

    def sql(self, statement: str) -> list[dict[str, Any]]:
        """Run one statement and return its rows."""
        self._connection.send(statement)
        answer = self._connection.recv()
        assert isinstance(answer, list), f"{statement}: {answer}"
        return answer

    def name(self, table: TableConfig) -> str:
        """The table's name in Spark."""
        return f"{self._catalog}.{table.target}"

    def call(self, procedure: str, table: TableConfig, arguments: str = "") -> list[dict[str, Any]]:
        """Call one of Iceberg's procedures on a table, for example `rewrite_manifests`."""
        rest = f", {arguments}" if arguments else ""
        return self.sql(f"CALL {self._catalog}.system.{procedure}(table => '{self.name(table)}'{rest})")

    def append_history(self, table: TableConfig, rows: int) -> None:
        """Insert rows that are older than everything that ClickHouse ever held."""
        self.sql(
            f"INSERT INTO {self.name(table)} "
            f"SELECT id + 1000000, TIMESTAMP '2020-01-01' + make_interval(0, 0, 0, 0, 0, 0, id), id, 1 "
            f"FROM range({rows})"
        )

    def metadata_file(self, table: TableConfig) -> str:
        """The location of the table's newest metadata."""
        (row,) = self.sql(f"SELECT file FROM {self.name(table)}.metadata_log_entries ORDER BY timestamp DESC LIMIT 1")
        return str(row["file"])

    def newest_snapshot(self, table: TableConfig) -> int:
        """The id of the table's current snapshot."""
        (row,) = self.sql(f"SELECT snapshot_id FROM {self.name(table)}.refs WHERE name = 'main'")
        return int(row["snapshot_id"])


@contextmanager
def foreign_writer(world: World) -> Iterator[ForeignWriter]:
    """A writer with a world's servers; it ends with the block."""
    with spark_process(world, "sql.py") as connection:
        yield ForeignWriter(connection, world.connections.iceberg.name)


_TABLES = 30
"""More than there are tests that take one."""


@pytest.fixture(scope="session")
def shared(servers: Connections, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatedTrades]:
    """Tables of one world that all tests share with one foreign writer, which is slow to start."""
    with new_world(servers, tmp_path_factory.mktemp("world")) as world:
        yield OperatedTrades(world, _TABLES)


@pytest.fixture(scope="session")
def foreign(shared: OperatedTrades) -> Iterator[ForeignWriter]:
    """The foreign writer."""
    with foreign_writer(shared.world) as writer:
        yield writer
