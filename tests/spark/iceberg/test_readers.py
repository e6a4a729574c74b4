"""pyiceberg, Spark and ClickHouse's own Iceberg reader agree with the hot tier, with and without a filter on time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from install.layout import Layout
from offload_core.config.tables import TableConfig
from offload_core.source.projection import Column, project
from offload_core.source.quoting import quote_identifier
from offload_core.source.table import describe
from offload_ops.tiers.cold_table import open_cold_table
from offload_ops.tiers.row_hash import RowHash, arrow_hash, clickhouse_hash
from tests.support.spark.spark_reader import as_spark_text, spark_rows
from tests.support.spark.world import World

MIDNIGHT = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def offloaded(world: World) -> World:
    """A world with trades and candles of two days, offloaded."""
    world.create_hot_tier()
    world.init(*(world.table(name) for name in TABLES))
    start, end = MIDNIGHT - timedelta(hours=5), MIDNIGHT - timedelta(minutes=30)
    for span in ((start, start + timedelta(hours=2)), (end - timedelta(hours=1), end)):
        feed = [str(Layout.of_checkout().python("devstack")), "-m", "devstack.market_feed", "history", "--seed", "3"]
        options = ["--exchange", "kraken", "--rows", "2000", "--from", span[0].isoformat(), "--to", span[1].isoformat()]
        world.command([*feed, *options])
    for name in TABLES:
        world.run_well(world.table(name))
    return world


TABLES = ("bronze_trades_kraken", "gold_ohlcv_1m")


@pytest.mark.parametrize("name", [TABLES[0], pytest.param(TABLES[1], marks=pytest.mark.full)])
def test_all_readers_agree_with_the_hot_tier(offloaded: World, name: str) -> None:
    table = offloaded.table(name)
    middle = MIDNIGHT - timedelta(hours=2)
    for since in (datetime(1970, 1, 1, tzinfo=timezone.utc), middle):
        columns = project(table, describe(offloaded.hot, table, offloaded.connections.clickhouse.database).columns)
        hot = hot_hash(offloaded, table, columns, since)
        assert hot.rows > 100
        scan = open_cold_table(offloaded.connections.iceberg, table.target).scan(
            row_filter=f"{table.timestamp_col} >= '{since.isoformat()}'"
        )
        assert arrow_hash(scan.to_arrow_batch_reader(), columns) == hot
        assert clickhouse_reader_hash(offloaded, table, columns, since) == hot
        seen_by_spark = spark_rows(offloaded, table.target, f"{table.timestamp_col} >= TIMESTAMP '{since.isoformat()}'")
        seen_by_pyiceberg = [
            {key: as_spark_text(value) for key, value in row.items()} for row in scan.to_arrow().to_pylist()
        ]
        assert sorted(seen_by_spark, key=sort_key) == sorted(seen_by_pyiceberg, key=sort_key)


def hot_hash(world: World, table: TableConfig, columns: list[Column], since: datetime) -> RowHash:
    """Count and hash of ClickHouse's own rows."""
    return source_hash(world, f"{quote_identifier(table.source)} AS hot", columns, f"hot.{table.timestamp_col}", since)


def clickhouse_reader_hash(world: World, table: TableConfig, columns: list[Column], since: datetime) -> RowHash:
    """Count and hash of the Iceberg table's rows, read by ClickHouse's Iceberg reader."""
    location = world.warehouse.joinpath(*table.target.split("."))
    plain = [
        Column(column.name, quote_identifier(column.name), column.iceberg_type, column.required) for column in columns
    ]
    return source_hash(
        world, f"icebergLocal('{location}', 'Parquet') AS cold", plain, f"cold.{table.timestamp_col}", since
    )


def source_hash(world: World, source: str, columns: list[Column], timestamp: str, since: datetime) -> RowHash:
    """Count and hash of a source's rows with timestamps from `since` on."""
    row = world.hot.rows(
        f"SELECT count() AS n, toString({clickhouse_hash(columns)}) AS h FROM {source} "
        f"WHERE {timestamp} >= toDateTime64('{since:%Y-%m-%d %H:%M:%S}', 6, 'UTC')"
    )[0]
    return RowHash(int(row["n"]), int(row["h"]))


def sort_key(row: dict[str, Any]) -> str:
    """A key to sort rows by."""
    return str(sorted(row.items(), key=lambda item: item[0]))
