"""One small table of trades, `cold.trades` in Iceberg, for tests that need a table of their own."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from offload_core.config.tables import TableConfig
from tests.support.spark.world import World

TRADES = TableConfig.model_validate(
    {
        "source": "trades",
        "target": "cold.trades",
        "layer": "bronze",
        "timestamp_col": "happened",
        "sequence_col": "number",
        "keys": ["id"],
    }
)
NOON = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def create_trades(world: World, *tables: TableConfig) -> None:
    """Create empty tables of trades in ClickHouse and Iceberg; without `tables` it is `TRADES`."""
    for table in tables or (TRADES,):
        world.hot.command(
            f"CREATE TABLE {table.source} (id UInt32, happened DateTime64(6, 'UTC'), number UInt64, "
            "price Decimal(38, 8)) ENGINE = MergeTree ORDER BY (happened, number)"
        )
    world.init(*(tables or (TRADES,)))


def insert_trades(world: World, first_id: int, *rows: tuple[datetime, int]) -> None:
    """Insert trades of (timestamp, sequence number), with ids from `first_id` on."""
    values = ", ".join(
        f"({first_id + number}, '{moment:%Y-%m-%d %H:%M:%S.%f}', {sequence}, 1.00000001)"
        for number, (moment, sequence) in enumerate(rows)
    )
    world.hot.command(f"INSERT INTO trades VALUES {values}")


def insert_minutes(world: World, start: datetime, count: int, first_id: int) -> None:
    """Insert one trade a minute from `start` on; ids and sequence numbers count from `first_id`."""
    world.hot.command(
        f"INSERT INTO trades SELECT {first_id} + number, "
        f"toDateTime64('{start:%F %T}', 6, 'UTC') + INTERVAL number MINUTE, "
        f"{first_id} + number, 1.00000001 FROM numbers({count})"
    )
