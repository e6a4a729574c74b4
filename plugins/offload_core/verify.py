"""Does the cold tier hold exactly the hot tier's rows, up to the watermark? By count and by hash."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from offload_core.clickhouse import ClickHouse, quote_table
from offload_core.cold_table import open_cold_table
from offload_core.connections import Connections
from offload_core.projection import Column, project
from offload_core.row_hash import RowHash, arrow_hash, clickhouse_hash
from offload_core.source_query import bind_time, format_time, http_placeholder, parse_time, source_column
from offload_core.source_table import describe
from offload_core.table_config import TableConfig
from offload_core.window import Cursor

if TYPE_CHECKING:
    from pyiceberg.expressions import BooleanExpression


@dataclass(frozen=True)
class Verdict:
    """Both sides of one table between ClickHouse's oldest row and the watermark (UTC, both inclusive)."""

    table: str
    start: datetime | None
    watermark: Cursor
    hot: RowHash
    cold: RowHash

    @property
    def equal(self) -> bool:
        """Whether count and hash agree."""
        return self.hot == self.cold


def verify(client: ClickHouse, connections: Connections, table: TableConfig, watermark: Cursor) -> Verdict:
    """Compare one table's sides.

    Rows that ClickHouse's TTL has taken are not compared: the range begins with ClickHouse's oldest row.

    Raises:
        FixSource, FixColumn, TargetTableMissing, ClickHouseUnavailable, CatalogUnavailable
    """
    columns = project(table, describe(client, table, connections.clickhouse.database).columns)
    start, hot = _hot(client, table, columns, watermark)
    cold = open_cold_table(connections.iceberg, table.target)
    scan = cold.scan(
        row_filter=_between(table, start, watermark), selected_fields=tuple(column.name for column in columns)
    )
    return Verdict(table.name, start, watermark, hot, arrow_hash(scan.to_arrow_batch_reader(), columns))


def _hot(
    client: ClickHouse, table: TableConfig, columns: list[Column], watermark: Cursor
) -> tuple[datetime | None, RowHash]:
    timestamp = source_column(table, table.timestamp_col)
    bound = bind_time("watermark", http_placeholder)
    condition = f"{timestamp} <= {bound}"
    if table.sequence_col:
        sequence = f"{source_column(table, table.sequence_col)} <= toInt128({http_placeholder('sequence')})"
        condition = f"({timestamp} < {bound} OR ({timestamp} = {bound} AND {sequence}))"
    row = client.rows(
        f"SELECT count() AS offload_rows, toString(toDateTime64(min({timestamp}), 6, 'UTC')) AS offload_start, "  # noqa: S608 - quoted
        f"toString({clickhouse_hash(columns)}) AS offload_hash "
        f"FROM {quote_table(table.source)} WHERE {condition}",
        {"watermark": format_time(watermark.timestamp), "sequence": str(watermark.sequence)},
    )[0]
    rows = int(row["offload_rows"])
    return (parse_time(row["offload_start"]) if rows else None), RowHash(rows, int(row["offload_hash"]))


def _between(table: TableConfig, start: datetime | None, watermark: Cursor) -> BooleanExpression:
    from pyiceberg.expressions import And, GreaterThanOrEqual, LessThanOrEqual

    column = table.timestamp_col
    # pyiceberg's expressions are pydantic models with positional arguments, which mypy doesn't see.
    upper = LessThanOrEqual(column, watermark.timestamp.isoformat())  # type: ignore[call-arg, arg-type]
    if start is None:
        return upper
    return And(GreaterThanOrEqual(column, start.isoformat()), upper)  # type: ignore[call-arg, arg-type]
