"""A SparkSession in the launcher's JVM, for commits that compare rows, for distributed fetches and for maintenance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offload_core.config.connections import IcebergConnection
from offload_spark.runtime.jvm import attach
from offload_spark.runtime.shared_session import acquire_context

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def start_session(connection: IcebergConnection) -> SparkSession:
    """Start a session with the Iceberg catalog under its name. Master and memory come from spark-submit.

    The catalog's password is set on the session, because Spark's UI shows the settings of the context.
    """
    acquire_context(attach())
    from pyspark.sql import SparkSession  # the import takes longer than a whole small run

    session = (
        SparkSession.builder.config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.extensions", "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    prefix = f"spark.sql.catalog.{connection.name}"
    session.conf.set(prefix, "org.apache.iceberg.spark.SparkCatalog")
    session.conf.set(f"{prefix}.cache-enabled", "false")
    for key, value in connection.catalog_properties().items():
        session.conf.set(f"{prefix}.{key}", value)
    return session
