"""The ClickHouse view of a table's whole history: Iceberg's rows up to the boundary, ClickHouse's own rows past it.

The boundary is the greatest `(timestamp, sequence)` in Iceberg, read by the same query that reads both tiers. It moves
with each commit and with nothing else, so it is right between a commit and its ledger row, after a reset of the
watermark, and after a roll-back. The ledger's watermark would be wrong then, and ClickHouse would need PostgreSQL's
password to read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from offload_core.config.connections import IcebergConnection
from offload_core.config.tables import TableConfig
from offload_core.errors import FixConfiguration, FixSource, RunInit
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.projection import Column, SourceColumn, project
from offload_core.source.quoting import quote_identifier, quote_table, quote_text
from offload_core.source.schema_drift import IcebergField

if TYPE_CHECKING:
    from pyiceberg.table import Table

DEFAULT_COLLECTION = "offload_cold"
_SUFFIX = "_all"
_TWO_DAYS_AGO = "now64(6, 'UTC') - INTERVAL 2 DAY"
_SINCE_EVER = "toDateTime64('1900-01-01 00:00:00', 6, 'UTC')"
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
"""The types as which ClickHouse reads Iceberg's types. A column that already has the hot type is not cast."""


@dataclass(frozen=True)
class IcebergSource:
    """How ClickHouse reads an Iceberg table.

    Attributes:
        function: the table function with its arguments, quoted.
        collection: the named collection with the credentials; None if the files are local.
    """

    function: str
    collection: str | None


def view_name(table: TableConfig, default_database: str) -> str:
    """The name of the view, `database.table`: the name of the source followed by `_all`."""
    return _source(table, default_database) + _SUFFIX


def _source(table: TableConfig, default_database: str) -> str:
    return table.source if "." in table.source else f"{default_database}.{table.source}"


def iceberg_source(cold: Table, connection: IcebergConnection, collection: str = DEFAULT_COLLECTION) -> IcebergSource:
    """How ClickHouse reads the files of a cold table: local ones by their path, those in S3 through a named collection.

    ClickHouse does not query the catalog: it reads the newest metadata file below the table's location. The table's
    UUID excludes the metadata of a dropped table that had the same location.

    Args:
        cold: the opened table.
        connection: the catalog; the collection's `url` points to its `warehouse`.
        collection: the name of the collection, which has `url`, `access_key_id` and `secret_access_key`.

    Raises:
        FixConfiguration: no view can read files in this store.
    """
    location = cold.location().rstrip("/")
    scheme = urlsplit(location).scheme
    only_this_table = f"SETTINGS iceberg_metadata_table_uuid = {quote_text(str(cold.metadata.table_uuid))}"
    if scheme in ("", "file"):
        return IcebergSource(f"icebergLocal({quote_text(unquote(urlsplit(location).path))}, {only_this_table})", None)
    if scheme in ("s3", "s3a", "s3n"):
        path = _relative_path(location, connection.warehouse)
        arguments = f"{quote_identifier(collection)}, filename = {quote_text(path)}, {only_this_table}"
        return IcebergSource(f"icebergS3({arguments})", collection)
    raise FixConfiguration(
        f"The files of {location} are in a {scheme} store, for which there is no view.",
        "Print the view of a table whose files are local or in S3, and replace its table function by the one for that "
        "store.",
    )


def _relative_path(location: str, warehouse: str) -> str:
    """The path of a table relative to the warehouse, whichever of the S3 schemes the two are written with."""
    table, root = (urlsplit(text.rstrip("/")) for text in (location, warehouse))
    if table.netloc != root.netloc or not table.path.startswith(root.path + "/"):
        raise FixConfiguration(
            f"The table at {location} is not below the warehouse {warehouse}.",
            "Correct the Iceberg Connection's warehouse, or move the table there.",
        )
    return table.path.removeprefix(root.path + "/")


def view_statement(
    table: TableConfig,
    default_database: str,
    hot: Sequence[SourceColumn],
    cold: Sequence[IcebergField],
    source: IcebergSource,
) -> str:
    """The CREATE OR REPLACE VIEW statement of a table, with the columns of the hot table in their order and types.

    Args:
        table: the table's entry.
        default_database: the database of its source, unless the entry names one.
        hot: its columns in ClickHouse.
        cold: its columns in Iceberg.
        source: how ClickHouse reads the cold tier.

    Raises:
        FixColumn: the entry does not fit the hot table.
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
        SELECT if(count() = 0, {_SINCE_EVER}, {_TWO_DAYS_AGO})
        FROM (SELECT 1 FROM {source.function} AS cold WHERE cold.{timestamp} >= {_TWO_DAYS_AGO} LIMIT 1)
    ) AS offload_since,
    (SELECT max({order}) FROM {source.function} AS cold WHERE cold.{timestamp} >= offload_since) AS offload_boundary
SELECT * FROM
(
    SELECT {names}
    FROM {quote_table(_source(table, default_database))} AS hot
    WHERE {_past_boundary(table)}
    UNION ALL
    SELECT
        {converted}
    FROM {source.function} AS cold
    WHERE {_up_to_boundary(table)}
)"""  # noqa: S608 - every name and text in it is quoted


def _past_boundary(table: TableConfig) -> str:
    """Select the hot rows past the boundary. The first condition is redundant, but uses the index."""
    timestamp = f"hot.{quote_identifier(table.timestamp_col)}"
    if not table.sequence_col:
        return f"{timestamp} > offload_boundary"
    sequence = f"hot.{quote_identifier(table.sequence_col)}"
    return (
        f"{timestamp} >= offload_boundary.1 AND ({timestamp} > offload_boundary.1 OR {sequence} > offload_boundary.2)"
    )


def _up_to_boundary(table: TableConfig) -> str:
    """Select the cold rows up to the boundary. Rows committed after the boundary was read come from the hot tier."""
    timestamp = f"cold.{quote_identifier(table.timestamp_col)}"
    if not table.sequence_col:
        return f"{timestamp} <= offload_boundary"
    sequence = f"cold.{quote_identifier(table.sequence_col)}"
    return (
        f"{timestamp} <= offload_boundary.1 AND ({timestamp} < offload_boundary.1 OR {sequence} <= offload_boundary.2)"
    )


def _cold_item(column: Column, kind: str, field: IcebergField) -> str:
    """A cold column converted to the type of the hot one."""
    name = quote_identifier(column.name)
    value = f"cold.{name}"
    if column.required and not field.required:
        # Added later, or Nullable for a while: rows without a value show the type's default in the hot tier.
        base = kind.removeprefix("LowCardinality(").removesuffix(")") if kind.startswith("LowCardinality(") else kind
        default = f"defaultValueOfTypeName({quote_text(base)})"
        value = f"ifNull(CAST({value}, {quote_text(f'Nullable({base})')}), {default})"
    elif _read_as(field) == kind:
        return f"{value} AS {name}"
    return f"CAST({value}, {quote_text(kind)}) AS {name}"


def _read_as(field: IcebergField) -> str:
    kind = _READ_AS.get(field.type, field.type.replace("decimal", "Decimal"))
    return kind if field.required else f"Nullable({kind})"


def require_view_name_free(client: ClickHouse, table: TableConfig, default_database: str) -> None:
    """Require that no table has the view's name: replacing it would delete its rows.

    Raises:
        FixSource: a table has that name.
    """
    database, _, name = view_name(table, default_database).partition(".")
    parameters = {"database": database, "name": name}
    query = "SELECT engine FROM system.tables WHERE database = {database:String} AND name = {name:String}"
    for row in client.rows(query, parameters):
        if row["engine"] != "View":
            raise FixSource(
                f"ClickHouse already has {database}.{name}, which is not a view but a {row['engine']} table.",
                f"Rename that table, or print the view of {table.name} and create it under another name.",
            )


def require_collection(client: ClickHouse, source: IcebergSource, connection: IcebergConnection) -> None:
    """Require that ClickHouse has the named collection of a view, if it needs one.

    Raises:
        FixSource: it does not; the message contains the statement that creates it.
    """
    if source.collection is None:
        return
    query = "SELECT 1 AS found FROM system.named_collections WHERE name = {name:String}"
    if not client.rows(query, {"name": source.collection}):
        root = urlsplit(connection.warehouse.rstrip("/"))
        raise FixSource(
            f"ClickHouse has no named collection {source.collection}, which it needs to read {connection.warehouse}.",
            f"Create it once: CREATE NAMED COLLECTION {quote_identifier(source.collection)} AS "
            f"url = 'https://YOUR-S3-ENDPOINT/{root.netloc}{root.path}/', access_key_id = '…', secret_access_key = '…'",
        )
