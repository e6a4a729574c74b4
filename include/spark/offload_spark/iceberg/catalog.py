"""Opens the catalog and creates Iceberg tables through the launcher's JVM."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError

from offload_core.config.connections import IcebergConnection
from offload_core.config.tables import TableConfig
from offload_core.protocol.partition import Partition
from offload_core.source.projection import Column
from offload_spark.iceberg.errors import iceberg_errors
from offload_spark.runtime.jvm import JavaObject

log = logging.getLogger("offload")

TABLE_PROPERTIES = {
    "format-version": "2",
    "write.format.default": "parquet",
    "write.parquet.compression-codec": "zstd",
    # With four commits an hour for years, only the metadata files that readers and a rollback may need are kept.
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "100",
    # By default Iceberg retries for half an hour; an attempt must know its outcome before its task times out.
    "commit.retry.total-timeout-ms": "60000",
    "commit.status-check.total-timeout-ms": "60000",
}


@contextmanager
def open_catalog(jvm: JavaObject, connection: IcebergConnection) -> Iterator[JavaObject]:
    """The Iceberg catalog of a connection, open within the block. Raises what `iceberg_errors` raises."""
    with iceberg_errors("opening the catalog"):
        # Loading Hadoop's configuration files takes a tenth of a second; only hdfs:// and s3a:// need them.
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
        except Py4JError as error:  # the work is done or has failed by now; this must not hide an error of the block
            log.warning("The catalog could not be closed: %s", error)


def identifier(jvm: JavaObject, target: str) -> JavaObject:
    """The TableIdentifier of `namespace.table`."""
    return jvm.org.apache.iceberg.catalog.TableIdentifier.parse(target)


def iceberg_schema(jvm: JavaObject, table: TableConfig, columns: list[Column]) -> JavaObject:
    """The Iceberg schema of a projection, with the table's keys as identifier fields."""
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
    """Create the namespace and the table if they are missing. Returns False if the table already exists."""
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
            # Files of older versions and of other writers carry no field ids; readers find their columns by these names
            # (ADR 0015).
            "schema.name-mapping.default": names,
            # Time filters and the offload's own audit need this column's bounds.
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
