"""The ClickHouse view that shows a table's whole history: Iceberg's rows up to the boundary, ClickHouse's own past it.

The boundary is the greatest `(timestamp, sequence)` that Iceberg holds, asked of Iceberg by the very query that reads both sides. So it
moves with each commit and with nothing else: it is right between a commit and its ledger row, after a reset of the watermark, and
after a roll-back. The ledger's watermark is not, and reading it would take PostgreSQL and its password into ClickHouse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from offload_core.config.connections import IcebergConnection
from offload_core.config.tables import TableConfig
from offload_core.errors import FixConfiguration, FixSource, RunInit
from offload_core.source.clickhouse import ClickHouse, quote_identifier, quote_table, quote_text
from offload_core.source.projection import Column, SourceColumn, project
from offload_core.source.schema_drift import IcebergField

if TYPE_CHECKING:
    from pyiceberg.table import Table

DEFAULT_COLLECTION = "offload_cold"
_SUFFIX = "_all"
_RECENT = "now64(6, 'UTC') - INTERVAL 2 DAY"
_EVER = "toDateTime64('1900-01-01 00:00:00', 6, 'UTC')"
_READ_AS = {
    "boolean": "Bool",
    "int": "Int32",
    "long": "Int64",
    "float": "Float32",
    "double": "Float64",
    "date": "Date32",
    "timestamptz": "DateTime64(6, 'UTC')",
    "string": "String",
}
"""What ClickHouse takes Iceberg's types for; a column that already has the hot one is not cast."""


@dataclass(frozen=True)
class ColdSource:
    """How ClickHouse reads an Iceberg table.

    Attributes:
        function: the table function with its arguments, quoted.
        collection: the named collection that this takes its credentials from; None where the files are local.
    """

    function: str
    collection: str | None


def view_name(table: TableConfig, default_database: str) -> str:
    """The view's name, `database.table`: the source's with `_all` behind it."""
    return _source(table, default_database) + _SUFFIX


def _source(table: TableConfig, default_database: str) -> str:
    return table.source if "." in table.source else f"{default_database}.{table.source}"


def cold_source(cold: Table, connection: IcebergConnection, collection: str = DEFAULT_COLLECTION) -> ColdSource:
    """How ClickHouse reads the files of a cold table: local ones by their path, S3's through a named collection.

    ClickHouse asks no catalog but takes the newest metadata file below the table's location. The table's UUID keeps it from those
    of a dropped table that was at the same place before.

    Args:
        cold: the opened table.
        connection: the catalog; its `warehouse` is what the collection's `url` points to.
        collection: name of the collection, which has `url`, `access_key_id` and `secret_access_key`.

    Raises:
        FixConfiguration: the files are where the view can't be made to read them.
    """
    location = cold.location().rstrip("/")
    scheme = urlsplit(location).scheme
    only_this_table = f"SETTINGS iceberg_metadata_table_uuid = {quote_text(str(cold.metadata.table_uuid))}"
    if scheme in ("", "file"):
        return ColdSource(f"icebergLocal({quote_text(unquote(urlsplit(location).path))}, {only_this_table})", None)
    if scheme in ("s3", "s3a", "s3n"):
        path = _below(location, connection.warehouse)
        arguments = f"{quote_identifier(collection)}, filename = {quote_text(path)}, {only_this_table}"
        return ColdSource(f"icebergS3({arguments})", collection)
    raise FixConfiguration(
        f"The files of {location} are in a {scheme} store, for which no view is made.",
        "Print the view of a table whose files are local or in S3, and put ClickHouse's table function for that store in.",
    )


def _below(location: str, warehouse: str) -> str:
    """A table's place relative to the warehouse, whichever of S3's schemes either is written with."""
    place, root = (urlsplit(text.rstrip("/")) for text in (location, warehouse))
    if place.netloc != root.netloc or not place.path.startswith(root.path + "/"):
        raise FixConfiguration(
            f"The table at {location} is not below the warehouse {warehouse}.",
            "Correct the Iceberg Connection's warehouse, or move the table there.",
        )
    return place.path.removeprefix(root.path + "/")


def view_statement(
    table: TableConfig,
    default_database: str,
    hot: Sequence[SourceColumn],
    cold: Sequence[IcebergField],
    source: ColdSource,
) -> str:
    """The CREATE OR REPLACE VIEW of a table, with the hot table's columns in their order and types.

    Args:
        table: the table's entry.
        default_database: where its source is, unless the entry names the database.
        hot: its columns in ClickHouse.
        cold: its columns in Iceberg.
        source: how ClickHouse reads the cold side.

    Raises:
        FixColumn: the entry doesn't fit the hot table.
        RunInit: Iceberg lacks a column.
    """
    columns = project(table, list(hot))
    fields = {field.name: field for field in cold}
    missing = [column.name for column in columns if column.name not in fields]
    if missing:
        raise RunInit(
            f"Iceberg's {table.target} has no column {', '.join(map(repr, missing))} yet.",
            "The next run adds it, and so does `offload init`; then run `offload view` again.",
        )
    types = {column.name: column.type for column in hot}
    names = ", ".join(quote_identifier(column.name) for column in columns)
    converted = ",\n        ".join(_cold_item(column, types[column.name], fields[column.name]) for column in columns)
    timestamp = quote_identifier(table.timestamp_col)
    order = f"cold.{timestamp}"
    if table.sequence_col:
        order = f"({order}, cold.{quote_identifier(table.sequence_col)})"
    return f"""CREATE OR REPLACE VIEW {quote_table(view_name(table, default_database))} AS
WITH
    (
        SELECT if(count() = 0, {_EVER}, {_RECENT})
        FROM (SELECT 1 FROM {source.function} AS cold WHERE cold.{timestamp} >= {_RECENT} LIMIT 1)
    ) AS offload_since,
    (SELECT max({order}) FROM {source.function} AS cold WHERE cold.{timestamp} >= offload_since) AS offload_boundary
SELECT * FROM
(
    SELECT {names}
    FROM {quote_table(_source(table, default_database))} AS hot
    WHERE {_beyond(table)}
    UNION ALL
    SELECT
        {converted}
    FROM {source.function} AS cold
    WHERE {_within(table)}
)"""  # noqa: S608 - every name and text in it is quoted


def _beyond(table: TableConfig) -> str:
    """The hot rows past the boundary; the first condition follows from the second and lets the primary index cut the range."""
    timestamp = f"hot.{quote_identifier(table.timestamp_col)}"
    if not table.sequence_col:
        return f"{timestamp} > offload_boundary"
    sequence = f"hot.{quote_identifier(table.sequence_col)}"
    return (
        f"{timestamp} >= offload_boundary.1 AND ({timestamp} > offload_boundary.1 OR {sequence} > offload_boundary.2)"
    )


def _within(table: TableConfig) -> str:
    """The cold rows up to the boundary: those of a commit that came after the boundary was asked for are left to the hot side."""
    timestamp = f"cold.{quote_identifier(table.timestamp_col)}"
    if not table.sequence_col:
        return f"{timestamp} <= offload_boundary"
    sequence = f"cold.{quote_identifier(table.sequence_col)}"
    return (
        f"{timestamp} <= offload_boundary.1 AND ({timestamp} < offload_boundary.1 OR {sequence} <= offload_boundary.2)"
    )


def _cold_item(column: Column, kind: str, field: IcebergField) -> str:
    """A cold column as the hot one's type."""
    name = quote_identifier(column.name)
    value = f"cold.{name}"
    if column.required and not field.required:
        # Added later, or Nullable for a while: where it never had a value, the hot side shows its type's default.
        base = kind.removeprefix("LowCardinality(").removesuffix(")") if kind.startswith("LowCardinality(") else kind
        default = f"defaultValueOfTypeName({quote_text(base)})"
        value = f"ifNull(CAST({value}, {quote_text(f'Nullable({base})')}), {default})"
    elif _read_as(field) == kind:
        return f"{value} AS {name}"
    return f"CAST({value}, {quote_text(kind)}) AS {name}"


def _read_as(field: IcebergField) -> str:
    kind = _READ_AS.get(field.type, field.type.replace("decimal", "Decimal"))
    return kind if field.required else f"Nullable({kind})"


def require_view_or_nothing(client: ClickHouse, table: TableConfig, default_database: str) -> None:
    """See that the view's name is free, or a view's: replacing a table of that name would delete its rows.

    Raises:
        FixSource: it is another table's.
    """
    database, _, name = view_name(table, default_database).partition(".")
    parameters = {"database": database, "name": name}
    query = "SELECT engine FROM system.tables WHERE database = {database:String} AND name = {name:String}"
    for row in client.rows(query, parameters):
        if row["engine"] != "View":
            raise FixSource(
                f"ClickHouse already has {database}.{name}, and it is no view but a {row['engine']}.",
                f"Rename that table, or print the view of {table.name} and create it under another name.",
            )


def require_collection(client: ClickHouse, source: ColdSource, connection: IcebergConnection) -> None:
    """See that ClickHouse has the named collection that a view needs, if it needs one.

    Raises:
        FixSource: it hasn't; the message has the statement that makes it.
    """
    if source.collection is None:
        return
    query = "SELECT 1 AS found FROM system.named_collections WHERE name = {name:String}"
    if not client.rows(query, {"name": source.collection}):
        root = urlsplit(connection.warehouse.rstrip("/"))
        raise FixSource(
            f"ClickHouse has no named collection {source.collection}, which tells it how to read {connection.warehouse}.",
            f"Make it once: CREATE NAMED COLLECTION {quote_identifier(source.collection)} AS "
            f"url = 'https://YOUR-S3-ENDPOINT/{root.netloc}{root.path}/', access_key_id = '…', secret_access_key = '…'",
        )
