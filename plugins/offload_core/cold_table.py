"""Reading a cold table with pyiceberg, next to Airflow and without a JVM.

pyiceberg's SQL catalog needs SQLAlchemy 2, which Airflow 2.11 can't have; the JDBC catalog's table of current metadata is one SELECT, so
it is read directly and the table opened from its metadata. Other catalogs are opened by pyiceberg itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from offload_core.connections import IcebergConnection
from offload_core.errors import CatalogUnavailable, FixConfiguration, TargetTableMissing

if TYPE_CHECKING:
    from pyiceberg.table import Table


def open_cold_table(connection: IcebergConnection, target: str) -> Table:
    """The table as its catalog has it now; it doesn't follow later commits.

    Raises:
        TargetTableMissing: the catalog has no such table.
        CatalogUnavailable: the catalog can't be reached.
        FixConfiguration: a catalog type that pyiceberg can't read.
    """
    if connection.type == "jdbc":
        from pyiceberg.table import StaticTable

        return StaticTable.from_metadata(_metadata_location(connection, target), dict(connection.properties))
    if connection.type == "hadoop":
        raise FixConfiguration(
            "pyiceberg can't read a hadoop catalog.", "Read the table with Spark, or move it to a jdbc or rest catalog."
        )
    from pyiceberg.catalog import load_catalog
    from pyiceberg.exceptions import NoSuchTableError

    options = {
        "type": connection.type,
        "uri": connection.uri,
        "warehouse": connection.warehouse,
        **connection.properties,
    }
    try:
        return load_catalog(connection.name, **options).load_table(target)
    except NoSuchTableError as error:
        raise TargetTableMissing(f"Iceberg has no table {target}.", "Run `offload init`.") from error


def _metadata_location(connection: IcebergConnection, target: str) -> str:
    namespace, _, name = target.rpartition(".")
    try:
        with psycopg.connect(
            connection.uri.removeprefix("jdbc:"),
            user=connection.user,
            password=connection.password.get_secret_value(),
            connect_timeout=10,
        ) as session:
            record = session.execute(
                "SELECT metadata_location FROM iceberg_tables WHERE catalog_name = %s AND table_namespace = %s AND table_name = %s",
                (connection.name, namespace, name),
            ).fetchone()
    except psycopg.errors.UndefinedTable:
        record = None
    except psycopg.OperationalError as error:
        raise CatalogUnavailable(
            f"The Iceberg catalog can't be reached: {str(error).strip().splitlines()[-1]}.",
            "Start its PostgreSQL or correct its Connection.",
        ) from error
    if record is None:
        raise TargetTableMissing(f"Iceberg has no table {target}.", "Run `offload init`.")
    return str(record[0])
