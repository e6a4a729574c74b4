"""What a real ClickHouse says of a source table."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone

import pytest

from offload_core.config.tables import DEFAULT_TABLES, TableConfig
from offload_core.errors import FixSource
from offload_core.source.projection import SourceColumn
from offload_core.source.table import SourceTable, describe
from tests.support.stack.servers import HotTier

pytestmark = pytest.mark.integration


def described(hot_tier: HotTier, source: str) -> SourceTable:
    table = TableConfig(source=source, target="cold.t", layer="bronze", timestamp_col="at")
    return describe(hot_tier.client, table, hot_tier.connection.database)


@pytest.mark.parametrize("table", DEFAULT_TABLES, ids=lambda table: table.name)
def test_every_shipped_table_is_found_with_its_columns(clickhouse: HotTier, table):
    found = describe(clickhouse.client, table, clickhouse.connection.database)

    names = [column.name for column in found.columns]
    assert {table.timestamp_col, *table.keys} <= set(names)
    assert found.uuid != uuid.UUID(int=0)


def test_the_clock_is_utc(clickhouse: HotTier):
    now = described(clickhouse, "silver_trades").now

    assert now.tzinfo is timezone.utc
    assert abs(now - datetime.now(timezone.utc)) < timedelta(minutes=1)


def test_columns_come_in_order_without_those_that_are_not_stored(clickhouse: HotTier):
    clickhouse.client.command(
        "CREATE TABLE described (z UInt8, at DateTime, a String DEFAULT 'x', m String MATERIALIZED a, "
        "b String ALIAS a, e UInt8 EPHEMERAL) ENGINE = MergeTree ORDER BY at"
    )

    assert described(clickhouse, "described").columns == [
        SourceColumn("z", "UInt8"),
        SourceColumn("at", "DateTime"),
        SourceColumn("a", "String"),
        SourceColumn("m", "String"),
    ]


def test_a_table_that_was_made_again_is_another_one(clickhouse: HotTier):
    ddl = "CREATE TABLE made_again (at DateTime) ENGINE = MergeTree ORDER BY at"
    clickhouse.client.command(ddl)
    before = described(clickhouse, "made_again").uuid
    assert described(clickhouse, "made_again").uuid == before

    clickhouse.client.command("DROP TABLE made_again SYNC")
    clickhouse.client.command(ddl)

    assert described(clickhouse, "made_again").uuid != before


@pytest.mark.parametrize(
    ("ttl", "expected"),
    [
        ("", None),
        ("TTL at + INTERVAL 7 DAY", "INTERVAL 7 DAY"),
        ("TTL at + toIntervalHour(36)", "INTERVAL 36 HOUR"),
        ("TTL at + INTERVAL 3 MONTH DELETE", "INTERVAL 3 MONTH"),
    ],
)
def test_the_retention_is_that_of_the_tables_ttl(clickhouse: HotTier, ttl, expected):
    name = f"kept_{uuid.uuid4().hex}"
    clickhouse.client.command(f"CREATE TABLE {name} (at DateTime) ENGINE = MergeTree ORDER BY at {ttl}")

    assert described(clickhouse, name).ttl == expected


def test_a_table_may_name_its_database(clickhouse: HotTier):
    found = described(clickhouse, f"{clickhouse.connection.database}.silver_trades")

    assert found.uuid == described(clickhouse, "silver_trades").uuid


@pytest.mark.parametrize("source", ["no_such_table", "no_such_database.silver_trades"])
def test_a_missing_table_is_named_with_its_database(clickhouse: HotTier, source):
    with pytest.raises(
        FixSource, match=rf"ClickHouse has no table \w+\.{source.split('.')[-1]}\. Correct `source` of t"
    ):
        described(clickhouse, source)
