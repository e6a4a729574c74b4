"""A SparkSession in the launcher's JVM, for the work that compares rows: inserting what is missing, and MERGE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offload_core.config.connections import IcebergConnection
from offload_spark.runtime.jvm import attach
from offload_spark.runtime.shared_session import take_context

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def start_session(connection: IcebergConnection) -> SparkSession:
    """Start a session that knows the Iceberg catalog by its name. Master and memory come from spark-submit.

    The catalog's password is set on the session, not on the context, whose settings Spark's UI shows.
    """
    take_context(attach())
    from pyspark.sql import SparkSession  # importing it costs more than a whole small run

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
