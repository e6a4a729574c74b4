"""One small table of hourly candles, which a view finalizes."""

from __future__ import annotations

from datetime import datetime, timezone

from offload_core.config.tables import TableConfig
from offload_ops.tiers.cold_table import open_cold_table
from tests.support.spark.world import World

FINALIZED = TableConfig.model_validate(
    {
        "source": "finalized",
        "target": "cold.candles",
        "layer": "gold",
        "timestamp_col": "window_start",
        "keys": ["symbol", "window_start"],
        "lookback_minutes": 60,
    }
)
DAY = datetime(2026, 11, 10, tzinfo=timezone.utc)


def create_candles(world: World) -> None:
    """Create the table with 24 hourly candles of two symbols, and its empty Iceberg table."""
    world.hot.command(
        "CREATE TABLE candles (symbol String, window_start DateTime('UTC'), window_end DateTime('UTC'), "
        "volume Decimal(38, 8), version UInt8) ENGINE = ReplacingMergeTree(version) ORDER BY (symbol, window_start)"
    )
    world.hot.command("CREATE VIEW finalized AS SELECT * EXCEPT version FROM candles FINAL")
    insert_candles(world, DAY, hours=24)
    world.init(FINALIZED)


def insert_candles(world: World, start: datetime, hours: int, volume: str = "1.5", version: int = 1) -> None:
    """Insert hourly candles of both symbols."""
    world.hot.command(
        f"INSERT INTO candles SELECT symbol, toDateTime('{start:%Y-%m-%d %H:%M:%S}', 'UTC') + number * 3600 AS start, "
        f"start + 3600, {volume}, {version} "
        f"FROM (SELECT number FROM numbers({hours})) n CROSS JOIN (SELECT arrayJoin(['A', 'B']) AS symbol) s"
    )


def delete_candles_before(world: World, moment: datetime) -> None:
    """Remove the candles before a moment (UTC) from ClickHouse, as TTL does."""
    world.hot.command(
        f"ALTER TABLE candles DELETE WHERE window_start < '{moment:%Y-%m-%d %H:%M:%S}' SETTINGS mutations_sync = 2"
    )


def volumes(world: World) -> dict[tuple[str, datetime], str]:
    """The candles in Iceberg: volume by symbol and start."""
    rows = open_cold_table(world.connections.iceberg, FINALIZED.target).scan().to_arrow().to_pylist()
    found = {(row["symbol"], row["window_start"]): str(row["volume"].normalize()) for row in rows}
    assert len(found) == len(rows), "a candle is there twice"
    return found
