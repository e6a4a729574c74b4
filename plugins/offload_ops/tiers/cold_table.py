"""Reading a cold table with pyiceberg, next to Airflow and without a JVM.

pyiceberg's SQL catalog needs SQLAlchemy 2, which Airflow 2.11 cannot use. A JDBC catalog keeps the location of each
table's current metadata in one PostgreSQL table, so it is read with a SELECT and the table is opened from its metadata.
pyiceberg itself opens other catalogs.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import psycopg

from offload_core.config.connections import IcebergConnection, PostgresConnection
from offload_core.errors import CatalogUnavailable, FixConfiguration, TargetTableMissing
from offload_core.ledger.session import connect
from offload_core.protocol.marker import Marker

if TYPE_CHECKING:
    from pyiceberg.table import Table


def load_libraries() -> None:
    """Import the libraries in advance. That takes seconds, which must not count against a time limit on the servers."""
    import pyiceberg.io.pyarrow
    import pyiceberg.table  # noqa: F401


def open_cold_table(connection: IcebergConnection, target: str) -> Table:
    """Open a table as its catalog has it now. The table does not follow later commits.

    Raises:
        TargetTableMissing: the catalog has no such table.
        LedgerUnavailable, CatalogUnavailable: the catalog's database cannot be reached, or the connection broke.
        FixCredentials: the database refused the user or the password.
        FixConfiguration: pyiceberg cannot read this type of catalog.
    """
    if connection.type == "jdbc":
        from pyiceberg.table import StaticTable

        location = _metadata_location(connection, target)
        try:
            return StaticTable.from_metadata(location, dict(connection.properties))
        except OSError as error:
            raise CatalogUnavailable(
                f"Iceberg's {target} cannot be read: {location}: {error.strerror or error}.",
                f"See that the warehouse {connection.warehouse} is there and readable from here.",
            ) from error
    if connection.type == "hadoop":
        raise FixConfiguration(
            "pyiceberg cannot read a hadoop catalog.",
            "Read the table with Spark, or move it to a jdbc or rest catalog.",
        )
    from pyiceberg.catalog import load_catalog
    from pyiceberg.exceptions import NoSuchTableError

    try:
        return load_catalog(connection.name, **connection.catalog_properties()).load_table(target)
    except NoSuchTableError as error:
        raise TargetTableMissing(f"Iceberg has no table {target}.", "Run `offload init`.") from error


def newest_marker(connection: IcebergConnection, target: str, pipeline: str) -> Marker | None:
    """The marker of the pipeline's newest commit among the ancestors of the current snapshot; None if there is none.

    Raises as `open_cold_table`, and WatermarkInvalid if the marker cannot be read.
    """
    table = open_cold_table(connection, target)
    snapshot = table.current_snapshot()
    while snapshot is not None:
        summary = snapshot.summary.additional_properties if snapshot.summary else {}
        marker = Marker.from_summary(summary, pipeline)
        if marker is not None:
            return marker
        parent = snapshot.parent_snapshot_id
        snapshot = table.snapshot_by_id(parent) if parent is not None else None
    return None


def cold_rows(connection: IcebergConnection, target: str) -> int:
    """How many rows the table holds. Raises as `open_cold_table`."""
    return open_cold_table(connection, target).scan().count()


def _metadata_location(connection: IcebergConnection, target: str) -> str:
    namespace, _, name = target.rpartition(".")
    query = (
        "SELECT metadata_location FROM iceberg_tables "
        "WHERE catalog_name = %s AND table_namespace = %s AND table_name = %s"
    )
    with closing(connect(_postgres(connection), "offload reading the catalog")) as session:
        try:
            record = session.execute(query, (connection.name, namespace, name)).fetchone()
        except psycopg.errors.UndefinedTable:
            record = None
        except psycopg.OperationalError as error:
            raise CatalogUnavailable(
                f"The connection to the Iceberg catalog broke: {str(error).strip()}.",
                "See that its PostgreSQL is up, then try again.",
            ) from error
    if record is None:
        raise TargetTableMissing(f"Iceberg has no table {target}.", "Run `offload init`.")
    return str(record["metadata_location"])


def _postgres(connection: IcebergConnection) -> PostgresConnection:
    """The server in a JDBC URI such as `jdbc:postgresql://host:5432/database?sslmode=require`."""
    parsed = urlsplit(connection.uri.removeprefix("jdbc:"))
    if parsed.scheme != "postgresql" or not parsed.hostname:
        raise FixConfiguration(
            f"The Iceberg catalog's URI {connection.uri} is not a PostgreSQL address.",
            "A jdbc catalog can be read only from PostgreSQL; write its URI as jdbc:postgresql://host:port/database.",
        )
    options = dict(parse_qsl(parsed.query))
    return PostgresConnection.model_validate(
        {
            "host": parsed.hostname,
            "port": parsed.port or 5432,
            "user": connection.user,
            "password": connection.password,
            "database": parsed.path.lstrip("/"),
            "sslmode": options.get("sslmode", "prefer"),
        }
    )
