"""Opening and making Iceberg tables through the launcher's JVM."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError, Py4JJavaError

from offload_core.config.connections import IcebergConnection
from offload_core.config.tables import TableConfig
from offload_core.disk import full_disk, says_full
from offload_core.errors import (
    CatalogUnavailable,
    CommitStateUnknown,
    FixConfiguration,
    FixCredentials,
    OffloadError,
    StartOver,
    TargetTableMissing,
)
from offload_core.protocol.window import Partition
from offload_core.source.projection import Column
from offload_spark.runtime.jvm import JavaObject, java_class_names, java_message

log = logging.getLogger("offload")

_ICEBERG_ERRORS = "org.apache.iceberg.exceptions."

TABLE_PROPERTIES = {
    "format-version": "2",
    "write.format.default": "parquet",
    "write.parquet.compression-codec": "zstd",
    # Four commits an hour for years: keep the metadata files that readers and a rollback may need, not all of them.
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "100",
    # Iceberg would retry for half an hour; an attempt has to know its outcome before its task's timeout.
    "commit.retry.total-timeout-ms": "60000",
    "commit.status-check.total-timeout-ms": "60000",
}


@contextmanager
def iceberg_errors(what: str) -> Iterator[None]:
    """Turn the JVM's exceptions into errors that say what to do. `what` completes "… while".

    Raises:
        TargetTableMissing, StartOver, CommitStateUnknown, FixConfiguration, FixCredentials, FreeDiskSpace, CatalogUnavailable
    """
    try:
        yield
    except Py4JJavaError as error:
        names, message = java_class_names(error), java_message(error)
        if f"{_ICEBERG_ERRORS}CommitStateUnknownException" in names:
            raise CommitStateUnknown(
                f"The outcome of the commit is unknown while {what}: {message}.",
                "Nothing was deleted; the next attempt finds the marker, or doesn't, and carries on from there.",
            ) from error
        if f"{_ICEBERG_ERRORS}NoSuchTableException" in names or f"{_ICEBERG_ERRORS}NoSuchNamespaceException" in names:
            raise TargetTableMissing(f"The Iceberg table does not exist ({message}).", "Run `offload init`.") from error
        if _moved(names, message):
            raise StartOver(
                f"The Iceberg table moved while {what}: {message}.",
                "Nothing was published; the next attempt starts from the newest state.",
            ) from error
        wrong = _wrong_connection(what, message)
        if wrong is not None:
            raise wrong from error
        if says_full(message):
            raise full_disk(what, message) from error
        raise CatalogUnavailable(
            f"The Iceberg catalog or warehouse failed while {what}: {message}.",
            "See that both can be reached and written to; the next attempt carries on from the same watermark.",
        ) from error
    except Py4JError as error:
        if _IS_A_MISTAKE in str(error):
            raise
        raise CommitStateUnknown(
            f"The JVM went away while {what}.",
            "The next attempt finds out from Iceberg whether it was done, and carries on from there.",
        ) from error


_NO_FILE_STORE = "Cannot initialize FileIO implementation"
_REFUSED_BY_STORE = ("Status Code: 403", "Status Code: 401")
"""What every AWS client says of a key that is unknown, wrong or not allowed to do this."""
_IS_A_MISTAKE = "Trace:"
"""In py4j's errors about calls that the JVM does not know. Others without an exception of the JVM's: the connection broke."""
_MOVED = (
    "is not an ancestor",
    "refresh is required",
    # A branch that is gone was dropped by a later attempt, which took it for a dead one's.
    "Ref does not exist",
    # What was to be rewritten has been replaced: data files, manifests.
    "Missing required files to delete",
    "could not be found in the latest snapshot",
)
"""What Iceberg says when another commit came first and no exception of its own tells so."""


def _wrong_connection(what: str, message: str) -> OffloadError | None:
    """The error where the message tells that something has to be corrected in the Connection or in the installation."""
    if _NO_FILE_STORE in message:
        return FixConfiguration(
            f"Spark lacks what the warehouse's file store needs: {message}.",
            "For S3, put iceberg-aws-bundle of Iceberg's own version on the class path (OFFLOAD_SPARK_S3_JARS; docs/production.md).",
        )
    if any(text in message for text in _REFUSED_BY_STORE):
        return FixCredentials(
            f"The warehouse's file store refused the key while {what}: {message}.",
            "Correct s3.access-key-id and s3.secret-access-key in the properties of the catalog's Connection, or what the key may do.",
        )
    if "password authentication failed" in message:
        return FixCredentials(
            f"The Iceberg catalog refused the user while {what}: {message}.",
            "Correct user and password in the catalog's Connection (`iceberg_default` unless set otherwise).",
        )
    return None


def _moved(names: list[str], message: str) -> bool:
    if f"{_ICEBERG_ERRORS}CommitFailedException" in names:
        return True
    return any(text in message for text in _MOVED)


@contextmanager
def open_catalog(jvm: JavaObject, connection: IcebergConnection) -> Iterator[JavaObject]:
    """The Iceberg catalog of a connection, closed with the block. Raises as `iceberg_errors` says."""
    with iceberg_errors("opening the catalog"):
        # Hadoop's own configuration files matter to hdfs:// and s3a:// only, and cost a tenth of a second.
        without_hadoop = connection.warehouse.startswith(("file:", "/")) or connection.is_in_s3
        configuration = jvm.org.apache.hadoop.conf.Configuration(not without_hadoop)
        catalog = jvm.org.apache.iceberg.CatalogUtil.buildIcebergCatalog(
            connection.name, connection.catalog_properties(), configuration
        )
    try:
        yield catalog
    finally:
        try:
            catalog.close()
        except Py4JError as error:  # what was done is done, and what went wrong before is the error to tell
            log.warning("The catalog could not be closed: %s", error)


def identifier(jvm: JavaObject, target: str) -> JavaObject:
    """The TableIdentifier of `namespace.table`."""
    return jvm.org.apache.iceberg.catalog.TableIdentifier.parse(target)


def iceberg_schema(jvm: JavaObject, table: TableConfig, columns: list[Column]) -> JavaObject:
    """The Iceberg schema of a projection; the table's keys become its identifier fields."""
    types = jvm.org.apache.iceberg.types.Types
    fields, keys = jvm.java.util.ArrayList(), jvm.java.util.HashSet()
    for number, column in enumerate(columns, start=1):
        kind = types.fromPrimitiveString(column.iceberg_type)
        make = types.NestedField.required if column.required else types.NestedField.optional
        fields.add(make(number, column.name, kind))
        if column.name in table.keys and column.required and column.iceberg_type not in ("float", "double"):
            keys.add(number)
    return jvm.org.apache.iceberg.Schema(fields, keys)


def create_table(jvm: JavaObject, catalog: JavaObject, table: TableConfig, columns: list[Column]) -> bool:
    """Create the namespace and the table where they are missing; False if the table was there."""
    name = identifier(jvm, table.target)
    with iceberg_errors(f"creating {table.target}"):
        if catalog.tableExists(name):
            return False
        if not catalog.namespaceExists(name.namespace()):
            catalog.createNamespace(name.namespace())
        schema = iceberg_schema(jvm, table, columns)
        spec = _with_partition(jvm.org.apache.iceberg.PartitionSpec.builderFor(schema), table).build()
        mapping = jvm.org.apache.iceberg.mapping
        names = mapping.NameMappingParser.toJson(mapping.MappingUtil.create(schema))
        own = {
            # Files of older versions, and of others, carry no field ids: readers find the columns by these names (ADR 0015).
            "schema.name-mapping.default": names,
            # Time filters, and the offload's own audit, live on this column's bounds.
            f"write.metadata.metrics.column.{table.timestamp_col}": "full",
        }
        catalog.createTable(name, schema, spec, {**TABLE_PROPERTIES, **own})
        return True


def _with_partition(builder: JavaObject, table: TableConfig) -> JavaObject:
    by = {
        Partition.HOUR: builder.hour,
        Partition.DAY: builder.day,
        Partition.MONTH: builder.month,
        Partition.YEAR: builder.year,
    }
    return by[table.partition](table.timestamp_col)
