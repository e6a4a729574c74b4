"""Small tables for fault tests: one world for each module, and one table for each test in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from typing import TypeVar

import pytest

from offload_core.config.connections import Connections
from offload_core.config.tables import TableConfig
from offload_core.ledger.rows import LedgerRow
from offload_core.ledger.session import connect
from tests.support.spark.world import World, new_world

NOON = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
DAY = datetime(2026, 11, 10, tzinfo=timezone.utc)
BUFFER = timedelta(minutes=5)


class Tables(ABC):
    """Empty tables; each is handed out once.

    Args:
        world: the world of the tables; one `offload init` creates all of them.
        count: how many tables.
    """

    def __init__(self, world: World, count: int) -> None:
        self.world = world
        self._unused = [self._table(number) for number in range(count)]
        for table in self._unused:
            self._create(table)
        world.init(*self._unused)

    @abstractmethod
    def _table(self, number: int) -> TableConfig:
        """The entry of the table with this number."""

    @abstractmethod
    def _create(self, table: TableConfig) -> None:
        """Create a table in ClickHouse."""

    @abstractmethod
    def insert(self, table: TableConfig, first: int, count: int) -> None:
        """Insert `count` rows or hours of rows, from number `first` on."""

    @property
    def next(self) -> TableConfig:
        """The table that `take` will give out."""
        return self._unused[-1]

    def take(self, count: int) -> TableConfig:
        """A table that no other test uses, with some rows in ClickHouse."""
        table = self._unused.pop()
        self.insert(table, 0, count)
        return table

    def valid_history(self, table: TableConfig) -> list[LedgerRow]:
        """The table's valid ledger rows, oldest first."""
        return [row for row in reversed(self.world.history(table)) if row.status in ("initialized", "success")]

    def kinds(self, table: TableConfig) -> list[str]:
        """The kinds of the valid ledger rows after the first one (`init`)."""
        return [row.kind for row in self.valid_history(table)[1:]]

    def steal_lock(self, table: TableConfig, run_id: str) -> None:
        """End the PostgreSQL session of a run, and so release its lock, as a restart of the server does."""
        with closing(connect(self.world.connections.postgres)) as session:
            ended = session.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s",
                (f"offload {table.name} {run_id}%",),
            ).fetchall()
        assert len(ended) == 1


class TradeTables(Tables):
    """Append tables: one trade a second from noon."""

    def _table(self, number: int) -> TableConfig:
        return TableConfig.model_validate(
            {
                "source": f"trades_{number}",
                "target": f"cold.trades_{number}",
                "layer": "bronze",
                "timestamp_col": "happened",
                "sequence_col": "number",
                "keys": ["id"],
            }
        )

    def _create(self, table: TableConfig) -> None:
        self.world.hot.command(
            f"CREATE TABLE {table.source} "
            "(id UInt64, happened DateTime64(6, 'UTC'), number UInt64, price Decimal(38, 8)) "
            "ENGINE = MergeTree ORDER BY (happened, number)"
        )

    def insert(self, table: TableConfig, first: int, count: int) -> None:
        """Insert trades, one a second; the number of a trade is its second past noon."""
        self.world.hot.command(
            f"INSERT INTO {table.source} "
            f"SELECT number + {first} AS id, toDateTime64('{NOON:%F %T}', 6, 'UTC') + id, id, "
            f"toDecimal128(cityHash64(id) / 1e9, 8) FROM numbers({count})"
        )


class CandleTables(Tables):
    """Upsert tables: hourly candles of two symbols from the start of a day, finalized by a view."""

    def _table(self, number: int) -> TableConfig:
        return TableConfig.model_validate(
            {
                "source": f"candles_{number}",
                "target": f"cold.candles_{number}",
                "layer": "gold",
                "timestamp_col": "window_start",
                "keys": ["symbol", "window_start"],
                "lookback_minutes": 60,
            }
        )

    def _create(self, table: TableConfig) -> None:
        self.world.hot.command(
            f"CREATE TABLE {table.source}_states "
            "(symbol String, window_start DateTime('UTC'), window_end DateTime('UTC'), volume Decimal(38, 8), "
            "version UInt8) ENGINE = ReplacingMergeTree(version) ORDER BY (symbol, window_start)"
        )
        self.world.hot.command(
            f"CREATE VIEW {table.source} AS SELECT * EXCEPT version FROM {table.source}_states FINAL"
        )

    def insert(self, table: TableConfig, first: int, count: int, version: int = 1) -> None:
        """Insert both symbols' candles of some hours of the day; a later version replaces an earlier one."""
        self.world.hot.command(
            f"INSERT INTO {table.source}_states "
            f"SELECT symbol, toDateTime('{DAY:%F %T}', 'UTC') + (number + {first}) * 3600 AS start, "
            f"start + 3600, {version}, {version} "
            f"FROM (SELECT number FROM numbers({count})) n CROSS JOIN (SELECT arrayJoin(['A', 'B']) AS symbol) s"
        )

    def delete_before(self, table: TableConfig, hour: int) -> None:
        """Remove the candles before an hour of the day from ClickHouse, as TTL does."""
        self.world.hot.command(
            f"ALTER TABLE {table.source}_states DELETE WHERE window_start < '{DAY + timedelta(hours=hour):%F %T}' "
            "SETTINGS mutations_sync = 2"
        )


_Kind = TypeVar("_Kind", bound=Tables)


@contextmanager
def prepared(
    kind: type[_Kind], request: pytest.FixtureRequest, servers: Connections, folders: pytest.TempPathFactory
) -> Iterator[_Kind]:
    """A world with as many tables of one kind as the requesting module has tests."""
    count = sum(item.path == request.path for item in request.session.items)
    with new_world(servers, folders.mktemp("world")) as world:
        yield kind(world, count)


@pytest.fixture(scope="module")
def trades(
    request: pytest.FixtureRequest, servers: Connections, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TradeTables]:
    """A table of trades for every test of the module."""
    with prepared(TradeTables, request, servers, tmp_path_factory) as tables:
        yield tables


@pytest.fixture(scope="module")
def candles(
    request: pytest.FixtureRequest, servers: Connections, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CandleTables]:
    """A table of candles for every test of the module."""
    with prepared(CandleTables, request, servers, tmp_path_factory) as tables:
        yield tables
