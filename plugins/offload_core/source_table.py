"""What ClickHouse says of a source table: its columns, its identity, its retention and the server's clock."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import datetime

from offload_core.clickhouse import ClickHouse
from offload_core.errors import FixSource
from offload_core.projection import SourceColumn
from offload_core.source_query import NOW, parse_time
from offload_core.table_config import TableConfig

_TTL = re.compile(r"\bTTL\b.*?toInterval(Second|Minute|Hour|Day|Week|Month|Quarter|Year)\((\d+)\)", re.DOTALL)


@dataclass(frozen=True)
class SourceTable:
    """The table as ClickHouse describes it.

    Attributes:
        now: ClickHouse's clock, UTC.
        uuid: the table's UUID; another one means that it was dropped and made again.
        columns: its stored columns in order.
        ttl: the retention its TTL states, as ClickHouse SQL (`INTERVAL 7 DAY`), None without one.
    """

    now: datetime
    uuid: uuid.UUID
    columns: list[SourceColumn]
    ttl: str | None


def describe(client: ClickHouse, table: TableConfig, default_database: str) -> SourceTable:
    """Ask ClickHouse what a table is.

    Raises:
        FixSource: there is no such table.
    """
    database, _, name = table.source.rpartition(".")
    parameters = {"database": database or default_database, "name": name}
    tables = client.rows(
        f"SELECT toString(uuid) AS uuid, engine_full, ({NOW}) AS now FROM system.tables "  # noqa: S608 - constants only
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
    )
