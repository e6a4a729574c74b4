"""A source table as ClickHouse describes it: columns, identity, retention, and the server's clock."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from offload_core.config.tables import TableConfig
from offload_core.errors import FixSource
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.projection import SourceColumn
from offload_core.source.queries import NOW, parse_time, source_column
from offload_core.source.quoting import quote_table

COMPARISON = timedelta(minutes=10)
"""Longer than a comparison of both tiers takes."""
_TTL = re.compile(r"\bTTL\b.*?toInterval(Second|Minute|Hour|Day|Week|Month|Quarter|Year)\((\d+)\)", re.DOTALL)


@dataclass(frozen=True)
class SourceTable:
    """The table as ClickHouse describes it.

    Attributes:
        now: ClickHouse's clock, UTC.
        uuid: the table's UUID; it changes when the table is dropped and created again.
        columns: its stored columns in order.
        ttl: the retention of its TTL, as ClickHouse SQL (`INTERVAL 7 DAY`); None without one.
        stores_rows: False for views and the like, whose rows are in other tables with their own retention.
    """

    now: datetime
    uuid: uuid.UUID
    columns: list[SourceColumn]
    ttl: str | None
    stores_rows: bool


def oldest_time(client: ClickHouse, table: TableConfig) -> datetime | None:
    """The timestamp of a table's oldest row (UTC), None for an empty table."""
    timestamp = source_column(table, table.timestamp_col)
    rows = client.rows(
        f"SELECT count() AS offload_rows, toString(toDateTime64(min({timestamp}), 6, 'UTC')) AS "  # noqa: S608 - quoted
        "offload_oldest "
        f"FROM {quote_table(table.source)}"
    )
    return parse_time(rows[0]["offload_oldest"]) if int(rows[0]["offload_rows"]) else None


def expires_before(client: ClickHouse, ttl: str) -> datetime:
    """The moment before which TTL may have removed rows: ClickHouse's clock minus the retention."""
    rows = client.rows(f"SELECT toString(now64(6, 'UTC') - {ttl}) AS floor")
    return parse_time(rows[0]["floor"])


def holds_all_since(client: ClickHouse, table: TableConfig, described: SourceTable) -> datetime | None:
    """The timestamp (UTC, inclusive) from which on ClickHouse still holds every row that it ever had; None for an empty
    table.

    TTL removes rows part by part, so an old row that is still there says nothing about its neighbors. Rows that the TTL
    may remove count as removed, and so do those that it may remove within the next minutes, during a comparison.
    """
    oldest = oldest_time(client, table)
    if oldest is None or described.ttl is None:
        return oldest
    return max(oldest, expires_before(client, described.ttl) + COMPARISON)


def describe(client: ClickHouse, table: TableConfig, default_database: str) -> SourceTable:
    """Let ClickHouse describe a table.

    Raises:
        FixSource: there is no such table.
    """
    database, _, name = table.source.rpartition(".")
    parameters = {"database": database or default_database, "name": name}
    tables = client.rows(
        f"SELECT toString(uuid) AS uuid, engine, engine_full, ({NOW}) AS now FROM "  # noqa: S608 - constants only
        "system.tables "
        "WHERE database = {database:String} AND name = {name:String}",
        parameters,
    )
    if not tables:
        raise FixSource(
            f"ClickHouse has no table {parameters['database']}.{name}.",
            f"Correct `source` of {table.name}, or create the table.",
        )
    columns = client.rows(
        "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {name:String} "
        "AND default_kind NOT IN ('ALIAS', 'EPHEMERAL') ORDER BY position",
        parameters,
    )
    ttl = _TTL.search(tables[0]["engine_full"])
    return SourceTable(
        now=parse_time(tables[0]["now"]),
        uuid=uuid.UUID(tables[0]["uuid"]),
        columns=[SourceColumn(column["name"], column["type"]) for column in columns],
        ttl=f"INTERVAL {ttl.group(2)} {ttl.group(1).upper()}" if ttl else None,
        stores_rows=tables[0]["engine"].endswith("MergeTree"),
    )
