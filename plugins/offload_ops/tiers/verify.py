"""Comparing the tiers of a table up to the watermark, by count and by hash."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING

from offload_core.config.connections import Connections
from offload_core.config.tables import SchemaContract, TableConfig
from offload_core.protocol.window import Cursor, Interval
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.projection import Column, project
from offload_core.source.queries import done_condition, done_parameters, http_placeholder, interval_column
from offload_core.source.quoting import quote_table
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
    """Both tiers of one table, up to the watermark.

    Attributes:
        table: its short name.
        start: both tiers must hold the same rows from here on (UTC, inclusive); None if ClickHouse holds no rows, so
            that nothing is compared.
        watermark: the tiers are compared up to here, inclusive.
        interval: the compared interval; None for everything.
        hot, cold: each tier's count and hash.
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
    """Compare the tiers of one table, or only an interval of them.

    Rows that ClickHouse's TTL has removed, or may have removed, are not compared.

    Raises:
        FixSource, FixColumn: the table's entry does not fit the source.
        TargetTableMissing: Iceberg has no such table.
        ClickHouseUnavailable, CatalogUnavailable: a server cannot be reached.
    """
    described = describe(client, table, connections.clickhouse.database)
    columns = project(table, described.columns)
    start = holds_all_since(client, table, described)
    if start is None:
        return Verdict(table.name, None, watermark, interval, NO_ROWS, NO_ROWS)
    hot = _hot_hash(client, table, columns, start, watermark, interval)
    cold_table = open_cold_table(connections.iceberg, table.target)
    fields = {field.name: field for field in cold_fields(cold_table)}
    # A schema change that the next run will apply is not a difference yet; any other is an error here too.
    plan_changes(table, columns, list(fields.values()), SchemaContract.EVOLVE)
    scan = cold_table.scan(
        row_filter=cold_filter(table, columns, start, watermark, interval),
        selected_fields=tuple(column.name for column in columns if column.name in fields),
    )
    nulls = meaning_of_null(client, described, columns, fields)
    return Verdict(
        table=table.name,
        start=start,
        watermark=watermark,
        interval=interval,
        hot=hot,
        cold=arrow_hash(scan.to_arrow_batch_reader(), columns, nulls),
    )


def count_both_tiers(
    client: ClickHouse, connections: Connections, table: TableConfig, watermark: Cursor, interval: Interval
) -> tuple[int, int]:
    """The rows of an interval, up to the watermark, that ClickHouse and Iceberg hold, expired ones included.

    Raises as `verify`.

    Returns:
        The counts of the hot and of the cold tier.
    """
    described = describe(client, table, connections.clickhouse.database)
    condition = done_condition(table, interval, http_placeholder, from_start=False)
    hot = count(client, table, condition, done_parameters(None, watermark, interval))
    columns = project(table, described.columns)
    cold = open_cold_table(connections.iceberg, table.target)
    return hot, cold.scan(row_filter=cold_filter(table, columns, None, watermark, interval)).count()


def _hot_hash(
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
    """The columns of a cold table, in the form that `schema_drift` compares."""
    schema = cold.schema()
    return [
        IcebergField(field.name, str(field.field_type), field.required, field.field_id in schema.identifier_field_ids)
        for field in schema.fields
    ]


def meaning_of_null(
    client: ClickHouse, described: SourceTable, columns: list[Column], fields: dict[str, IcebergField]
) -> dict[str, list[int]]:
    """The integers that NULL stands for in the row hash, by column: for columns that can be NULL only in the cold tier.

    Such a column was added in ClickHouse, or was Nullable for a while. Rows without a value show the type's default in
    ClickHouse (0, an empty text, 1970) and NULL in Iceberg, but are the same rows. If the column has a DEFAULT of its
    own, ClickHouse shows that, and the rows differ until their interval is restated.
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
    """The condition of `done_condition` for pyiceberg."""
    from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan, LessThanOrEqual, Or

    # pyiceberg's expressions are pydantic models with positional arguments, which mypy does not see.
    column, limit = table.timestamp_col, watermark.timestamp.isoformat()
    upper: BooleanExpression = LessThanOrEqual(column, limit)  # type: ignore[call-arg, arg-type]
    if table.sequence_col:
        kind = next(column.iceberg_type for column in columns if column.name == table.sequence_col)
        sequence = Decimal(watermark.sequence) if kind.startswith("decimal") else watermark.sequence
        until = LessThanOrEqual(table.sequence_col, sequence)  # type: ignore[call-arg, arg-type]
        tied = And(EqualTo(column, limit), until)  # type: ignore[call-arg, arg-type]
        upper = Or(LessThan(column, limit), tied)  # type: ignore[call-arg, arg-type]
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
