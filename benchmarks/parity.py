"""Checks whether an Iceberg table contains exactly ClickHouse's rows of a time range, by count and by row hash.

It runs in Airflow's environment, which has pyiceberg: `python -m benchmarks.parity` reads the request as JSON from
standard input and writes the answer as JSON to standard output. Additional columns and the names of types are ignored:
only values count.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime

import pyarrow as pa
from pyiceberg.table import DataScan, StaticTable

from offload_core.config.connections import load_connections
from offload_core.config.tables import TableConfig
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.projection import Column, project
from offload_core.source.queries import bind_time, format_time, http_placeholder, source_column
from offload_core.source.quoting import quote_table
from offload_core.source.table import describe
from offload_ops.tiers.row_hash import RowHash, arrow_hash, clickhouse_hash


def main() -> None:
    """Answer one request: `{"rows": …, "parity": …, "note": …}`."""
    request = json.load(sys.stdin)
    table = TableConfig.model_validate(request["table"])
    start, end = (datetime.fromisoformat(request[name]) for name in ("start", "end"))
    connections = load_connections(os.environ)
    with closing(ClickHouse(connections.clickhouse, timeout_seconds=600)) as client:
        columns = project(table, describe(client, table, connections.clickhouse.database).columns)
        scan = _scan(request["metadata"], table.timestamp_col, columns, start, end)
        hot = _hot(client, table, columns, start, end)
        problems = _differences(client, table, columns, scan, start, end) if _cold(scan, columns) != hot else []
    note = "; ".join(problems)
    json.dump({"rows": hot.rows, "parity": not problems, "note": note}, sys.stdout)


def _scan(metadata: str, timestamp: str, columns: Sequence[Column], start: datetime, end: datetime) -> DataScan:
    """The rows of the time range, which may be only the newest rows of the table.

    A timestamp that a peer has written without a zone is in UTC, as in ClickHouse.
    """
    table = StaticTable.from_metadata(metadata)
    kind = str(next(field.field_type for field in table.schema().fields if field.name == timestamp))
    low, high = start.isoformat(), end.isoformat()
    if kind == "timestamp":
        low, high = low.removesuffix("+00:00"), high.removesuffix("+00:00")
    names = {field.name for field in table.schema().fields}
    wanted = tuple(column.name for column in columns if column.name in names)
    return table.scan(f"{timestamp} > '{low}' AND {timestamp} <= '{high}'", selected_fields=wanted)


def _hot(client: ClickHouse, table: TableConfig, columns: Sequence[Column], start: datetime, end: datetime) -> RowHash:
    timestamp = source_column(table, table.timestamp_col)
    row = client.rows(
        f"SELECT count() AS offload_rows, toString({clickhouse_hash(columns)}) AS offload_hash "  # noqa: S608 - quoted
        f"FROM {quote_table(table.source)} WHERE {timestamp} > {bind_time('start', http_placeholder)} "
        f"AND {timestamp} <= {bind_time('end', http_placeholder)}",
        {"start": format_time(start), "end": format_time(end)},
    )[0]
    return RowHash(int(row["offload_rows"]), int(row["offload_hash"]))


def _cold(scan: DataScan, columns: Sequence[Column]) -> RowHash | None:
    """The hash of the rows; None if a value cannot be read as ClickHouse's type."""
    try:
        return arrow_hash(scan.to_arrow_batch_reader(), columns)
    except (pa.ArrowException, KeyError, NotImplementedError):
        return None


def _differences(
    client: ClickHouse,
    table: TableConfig,
    columns: Sequence[Column],
    scan: DataScan,
    start: datetime,
    end: datetime,
) -> list[str]:
    """The differences: the number of rows, or the columns with different values."""
    expected = _hot(client, table, [], start, end).rows
    found = scan.count()
    if found != expected:
        return [f"{found:,} rows instead of {expected:,}"]
    schema = scan.to_arrow_batch_reader().schema
    wrong = [
        _describe_column(schema, column)
        for column in columns
        if _cold(scan, [column]) != _hot(client, table, [column], start, end)
    ]
    return [f"other values in {', '.join(wrong)}"] if wrong else ["the same values in other rows"]


def _describe_column(schema: pa.Schema, column: Column) -> str:
    """The column's name with its type in the Iceberg table."""
    index = schema.get_field_index(column.name)
    return f"{column.name} ({schema.field(index).type if index >= 0 else 'missing'})"


if __name__ == "__main__":
    main()
