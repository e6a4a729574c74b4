"""Does the cold tier hold exactly the hot tier's rows, up to the watermark? By count and by hash."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING

from offload_core.config.connections import Connections
from offload_core.config.tables import SchemaContract, TableConfig
from offload_core.protocol.window import Cursor, Interval
from offload_core.source.clickhouse import ClickHouse, quote_table
from offload_core.source.projection import Column, project
from offload_core.source.queries import done_condition, done_parameters, http_placeholder, interval_column
from offload_core.source.row_counts import count
from offload_core.source.schema_drift import IcebergField, plan_changes
from offload_core.source.table import SourceTable, describe, holds_all_since
from offload_ops.tiers.cold_table import open_cold_table
from offload_ops.tiers.row_hash import NO_ROWS, RowHash, arrow_hash, clickhouse_hash, default_numbers_query

if TYPE_CHECKING:
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.table import Table


@dataclass(frozen=True)
class Verdict:
    """Both sides of one table, up to the watermark.

    Attributes:
        table: its short name.
        start: from this timestamp on (UTC, inclusive) both sides must hold the same rows; None if ClickHouse holds none at all, and
            then nothing is compared.
        watermark: up to here, inclusive.
        interval: the interval that was compared; None for everything.
        hot, cold: count and hash.
    """

    table: str
    start: datetime | None
    watermark: Cursor
    interval: Interval | None
    hot: RowHash
    cold: RowHash

    @property
    def equal(self) -> bool:
        """Whether count and hash agree."""
        return self.hot == self.cold


def verify(
    client: ClickHouse,
    connections: Connections,
    table: TableConfig,
    watermark: Cursor,
    interval: Interval | None = None,
) -> Verdict:
    """Compare one table's sides, or only an interval of them.

    Rows that ClickHouse's TTL has taken or may have taken are not compared.

    Raises:
        FixSource, FixColumn, TargetTableMissing, ClickHouseUnavailable, CatalogUnavailable
    """
    described = describe(client, table, connections.clickhouse.database)
    columns = project(table, described.columns)
    start = holds_all_since(client, table, described)
    if start is None:
        return Verdict(table.name, None, watermark, interval, NO_ROWS, NO_ROWS)
    hot = _hot(client, table, columns, start, watermark, interval)
    cold = open_cold_table(connections.iceberg, table.target)
    fields = {field.name: field for field in cold_fields(cold)}
    # A change that the next run will follow is no difference yet; any other is an error here too.
    plan_changes(table, columns, list(fields.values()), SchemaContract.EVOLVE)
    scan = cold.scan(
        row_filter=cold_filter(table, columns, start, watermark, interval),
        selected_fields=tuple(column.name for column in columns if column.name in fields),
    )
    nulls = meaning_of_null(client, described, columns, fields)
    found = arrow_hash(scan.to_arrow_batch_reader(), columns, nulls)
    return Verdict(table.name, start, watermark, interval, hot, found)


def held_rows(
    client: ClickHouse, connections: Connections, table: TableConfig, watermark: Cursor, interval: Interval
) -> tuple[int, int]:
    """How many rows of an interval, up to the watermark, ClickHouse and Iceberg hold, whatever TTL may have taken. Raises as `verify`."""
    described = describe(client, table, connections.clickhouse.database)
    condition = done_condition(table, interval, http_placeholder, from_start=False)
    hot = count(client, table, condition, done_parameters(None, watermark, interval))
    columns = project(table, described.columns)
    cold = open_cold_table(connections.iceberg, table.target)
    return hot, cold.scan(row_filter=cold_filter(table, columns, None, watermark, interval)).count()


def _hot(
    client: ClickHouse,
    table: TableConfig,
    columns: list[Column],
    start: datetime,
    watermark: Cursor,
    interval: Interval | None,
) -> RowHash:
    row = client.rows(
        f"SELECT count() AS offload_rows, toString({clickhouse_hash(columns)}) AS offload_hash "  # noqa: S608 - quoted
        f"FROM {quote_table(table.source)} WHERE {done_condition(table, interval, http_placeholder)}",
        done_parameters(start, watermark, interval),
    )[0]
    return RowHash(int(row["offload_rows"]), int(row["offload_hash"]))


def cold_fields(cold: Table) -> list[IcebergField]:
    """The columns of a cold table, as the rules for columns that change want them."""
    schema = cold.schema()
    return [
        IcebergField(field.name, str(field.field_type), field.required, field.field_id in schema.identifier_field_ids)
        for field in schema.fields
    ]


def meaning_of_null(
    client: ClickHouse, described: SourceTable, columns: list[Column], fields: dict[str, IcebergField]
) -> dict[str, list[int]]:
    """The hash's numbers for NULL in columns that are NULL in the cold tier and can't be in the hot one.

    Such a column was added in ClickHouse, or was Nullable for a while. In rows that never had a value ClickHouse shows its type's default
    (0, an empty text, 1970) and Iceberg, where they were written without the column, NULL: the same row. Where the column has a
    DEFAULT of its own, ClickHouse shows that, and the rows do differ until their interval is restated.
    """
    added = [
        column
        for column in columns
        if column.required and (column.name not in fields or not fields[column.name].required)
    ]
    if not added:
        return {}
    query, parameters = default_numbers_query(added, {column.name: column.type for column in described.columns})
    numbers = client.rows(query, parameters)[0]["offload_numbers"]
    return {column.name: [int(number) for number in parts] for column, parts in zip(added, numbers, strict=True)}


def cold_filter(
    table: TableConfig, columns: list[Column], start: datetime | None, watermark: Cursor, interval: Interval | None
) -> BooleanExpression:
    """The counterpart of `done_condition` for pyiceberg."""
    from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan, LessThanOrEqual, Or

    # pyiceberg's expressions are pydantic models with positional arguments, which mypy doesn't see.
    column, mark = table.timestamp_col, watermark.timestamp.isoformat()
    upper: BooleanExpression = LessThanOrEqual(column, mark)  # type: ignore[call-arg, arg-type]
    if table.sequence_col:
        kind = next(column.iceberg_type for column in columns if column.name == table.sequence_col)
        sequence = Decimal(watermark.sequence) if kind.startswith("decimal") else watermark.sequence
        tied = And(EqualTo(column, mark), LessThanOrEqual(table.sequence_col, sequence))  # type: ignore[call-arg, arg-type]
        upper = Or(LessThan(column, mark), tied)  # type: ignore[call-arg, arg-type]
    conditions = [upper]
    if start is not None:
        conditions.append(GreaterThanOrEqual(column, start.isoformat()))  # type: ignore[call-arg, arg-type]
    if interval is not None:
        counted = interval_column(table, interval)
        conditions += [
            GreaterThanOrEqual(counted, interval.start.isoformat()),  # type: ignore[call-arg, arg-type]
            LessThan(counted, interval.end.isoformat()),  # type: ignore[call-arg, arg-type]
        ]
    return reduce(And, conditions)
