"""A month of the offload in an hour: the same code with simulated time, and one long-lived process for all runs.

There are three tables, one of each layer. Rows and intervals have simulated time. ClickHouse's clock is real, so its
retention is set to match the simulated time.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from offload_core.config.tables import TableConfig
from offload_core.jobs.arguments import JobArguments
from offload_core.maintenance import TableStats, closed_before
from offload_core.protocol.plan import RunMode
from offload_ops.audit.compare import TableAudit
from offload_ops.tiers.cold_table import open_cold_table
from tests.support.ledger.audits import audit
from tests.support.spark.process import spark_process
from tests.support.spark.world import World

if TYPE_CHECKING:
    from pyiceberg.table import Table

CYCLE = timedelta(minutes=15)
BUFFER = timedelta(minutes=5)
TRADES_PER_CYCLE = 12
LATE_SHARE = 0.01
LATEST = 16
"""The largest delay of a trade in cycles; the audit covers it."""
SNAPSHOTS = 96
"""How many snapshots a table keeps: one day's."""
RETENTION = timedelta(days=7)
TABLES = ("bronze_trades_binance", "silver_trades", "gold_ohlcv_15m")


@dataclass
class Simulation:
    """The hot tier's feed, the runs and the clock of a simulated period.

    Attributes:
        world: the servers, with the shipped hot tier.
        driver: the long-lived Spark driver.
        start, now: beginning and current moment of the simulated time (UTC).
        late: trades that have not arrived yet: moment of arrival, and number.
        arrived_late: how many trades were late; `late_since_audit` of them since the last audit of all tables.
    """

    world: World
    driver: Connection
    start: datetime
    chance: random.Random
    now: datetime
    trades: int = 0
    late: list[tuple[datetime, int]] = field(default_factory=list)
    arrived_late: int = 0
    late_since_audit: int = 0

    @property
    def tables(self) -> list[TableConfig]:
        """The three tables."""
        return [self.world.table(name) for name in TABLES]

    def cycle(self) -> None:
        """Insert fifteen minutes of trades, then run all tables at once."""
        self._arrive()
        begin, self.now = self.now, self.now + CYCLE
        # As in Airflow, a run starts at the end of its interval; the last minutes' rows belong to the next run.
        self._run(self.tables, RunMode.OFFLOAD, begin, self.now)

    def run(self, table: TableConfig, mode: RunMode, start: datetime, end: datetime) -> int:
        """Run one table, which must succeed; returns how many rows it published."""
        (rows,) = self._run([table], mode, start, end)
        return rows

    def _run(self, tables: list[TableConfig], mode: RunMode, start: datetime, end: datetime) -> list[int]:
        run_id = f"{mode.value} {end:%F %R}"
        jobs = [JobArguments(table, self.world.settings, end, run_id, 1, start, mode).to_argv() for table in tables]
        rows = self._ask("run", jobs)
        assert isinstance(rows, list)
        return rows

    def audit(self, table: TableConfig) -> TableAudit:
        """Audit a table as the hourly audit does."""
        return audit(self.world, table, run_id=f"audit {self.now:%F %R}")

    def maintain(self, table: TableConfig) -> TableStats:
        """Maintain a table as the daily maintenance does; returns its measurements. Iceberg's own times are real."""
        stats = self._ask("maintain", JobArguments(table, self.world.settings, run_id=f"{self.now:%F}").to_argv())
        assert isinstance(stats, TableStats)
        return stats

    def sql(self, statement: str) -> list[dict[str, Any]]:
        """Run another user's statement on the Iceberg tables; returns its rows."""
        rows = self._ask("sql", statement)
        assert isinstance(rows, list)
        return rows

    def sql_name(self, table: TableConfig) -> str:
        """The table's name in such a statement."""
        return f"{self.world.connections.iceberg.name}.{table.target}"

    def cold(self, table: TableConfig) -> Table:
        """The table as pyiceberg reads it."""
        return open_cold_table(self.world.connections.iceberg, table.target)

    def files_per_closed_partition(self, table: TableConfig) -> dict[datetime, int]:
        """How many data files each closed partition has, by the partition's start."""
        with self.world.ledger() as ledger:
            watermark = ledger.cursor(table.name).timestamp
        closed = closed_before(table, self.world.settings, watermark, self.now)
        found = {
            table.partition.start_of(next(iter(row["partition"].values()))): int(row["file_count"])
            for row in self.cold(table).inspect.partitions().to_pylist()
        }
        return {start: files for start, files in found.items() if table.partition.next(start) <= closed}

    def insert_late(self, age: timedelta, count: int) -> None:
        """Insert trades of an earlier moment, in addition to the feed's late trades."""
        first = int((self.now - age - self.start) / CYCLE) * TRADES_PER_CYCLE
        self._insert(list(range(first, first + count)), offset=1)
        self._count_late(count)

    def _count_late(self, trades: int) -> None:
        self.arrived_late += trades
        self.late_since_audit += trades

    def _ask(self, job: str, request: object) -> object:
        self.driver.send((job, request))
        answer = self.driver.recv()
        assert not isinstance(answer, tuple), f"{job} {request} at {self.now}: {answer}"
        return answer

    def expire(self) -> None:
        """Expire bronze trades that are older than a week, as TTL does once a day."""
        floor = self.now - RETENTION
        age = datetime.now(timezone.utc) - floor
        hours = math.ceil(age / timedelta(hours=1))
        self.world.hot.command(
            "ALTER TABLE bronze_trades_binance MODIFY TTL toDateTime(exchange_timestamp, 'UTC') "
            f"+ INTERVAL {hours} HOUR SETTINGS materialize_ttl_after_modify = 0"
        )
        gone = (datetime.now(timezone.utc) - timedelta(hours=hours)).date() - timedelta(days=1)
        if gone >= self.start.date():
            self.world.hot.command(f"ALTER TABLE bronze_trades_binance DROP PARTITION '{gone:%F}'")

    def _arrive(self) -> None:
        due = [number for moment, number in self.late if moment <= self.now]
        self.late = [(moment, number) for moment, number in self.late if moment > self.now]
        self._count_late(len(due))
        first = self.trades
        self.trades += TRADES_PER_CYCLE
        numbers = list(range(first, self.trades))
        for number in list(numbers):
            if self.chance.random() < LATE_SHARE:
                numbers.remove(number)
                self.late.append((self.now + self.chance.randint(2, LATEST) * CYCLE, number))
        self._insert(numbers + due)

    def _insert(self, numbers: list[int], *, offset: int = 0) -> None:
        """Insert trades by number, which determines time and values; an offset (microseconds) makes others."""
        step = int(CYCLE / TRADES_PER_CYCLE / timedelta(microseconds=1))
        self.world.hot.command(
            "INSERT INTO bronze_trades_binance "
            "(symbol, trade_id, side, price, quantity, exchange_timestamp, sequence_number) "
            f"SELECT ['BTCUSDT', 'ETHUSDT'][1 + n % 2], toString(n + {offset} * 1000000000), "
            "if(n % 3 = 0, 'buy', 'sell'), toDecimal128(100 + n % 997, 8), toDecimal128(1 + n % 7, 8), "
            f"toDateTime64('{self.start:%F %T}', 6, 'UTC') + toIntervalMicrosecond(n * {step} + {offset}), n "
            f"FROM (SELECT arrayJoin({numbers}) AS n)"
        )


@contextmanager
def simulation(world: World, days: int) -> Iterator[Simulation]:
    """A simulation whose rows all lie in the real past."""
    today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    start = today - timedelta(days=days + 1)
    world.create_hot_tier()
    for source in ("bronze_trades_binance", "silver_trades"):
        world.hot.command(
            f"ALTER TABLE {source} MODIFY TTL toDateTime(exchange_timestamp, 'UTC') + INTERVAL 5 YEAR "
            "SETTINGS materialize_ttl_after_modify = 0"
        )
    world.init(*(world.table(name) for name in TABLES))
    # Candles that are not offloaded here need no view.
    for view in hot_views(world):
        if view.startswith("ohlcv_") and not view.startswith("ohlcv_15m"):
            world.hot.command(f"DROP VIEW {view}")
    # Unlike a job, this process lives long enough to benefit from the JVM's optimizing compiler.
    with spark_process(world, "long_lived_driver.py", "-XX:TieredStopAtLevel=4") as driver:
        yield Simulation(world, driver, start, random.Random(1), start)  # noqa: S311 - not for secrets


def hot_views(world: World) -> list[str]:
    """The hot tier's materialized views."""
    rows = world.hot.rows(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'MaterializedView'"
    )
    return [row["name"] for row in rows]
