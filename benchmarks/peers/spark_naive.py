"""The first Spark job that one would write: default settings, one JDBC read, one append, partitioned by day."""

from __future__ import annotations

from pyspark.sql import SparkSession
from pyspark.sql.functions.partitioning import days

from benchmarks.peers.request import Request


def main() -> None:
    """Load the rows into a new table."""
    request = Request.read()
    source, catalog = request.clickhouse, request.catalog
    prefix = "spark.sql.catalog.demo"
    session = (
        SparkSession.builder.appName("load")
        # The driver reports text as VARCHAR(0), and Spark cannot plan a write of such a column.
        .config("spark.sql.legacy.charVarcharAsString", "true")
        .config("spark.sql.extensions", "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions")
        .config(prefix, "org.apache.iceberg.spark.SparkCatalog")
        .config(f"{prefix}.type", "jdbc")
        .config(f"{prefix}.uri", f"jdbc:postgresql://{catalog.host}:{catalog.port}/{catalog.database}")
        .config(f"{prefix}.jdbc.user", catalog.user)
        .config(f"{prefix}.jdbc.password", catalog.password)
        .config(f"{prefix}.jdbc.schema-version", "V1")
        .config(f"{prefix}.warehouse", request.warehouse)
        .getOrCreate()
    )
    rows = (
        session.read.format("jdbc")
        .option("url", f"jdbc:clickhouse://{source.host}:{source.port}/{source.database}")
        .option("driver", "com.clickhouse.jdbc.ClickHouseDriver")
        .option("user", source.user)
        .option("password", source.password)
        # The development stack's ClickHouse supports only HTTP compression, and on loopback none is faster.
        .option("compress", "false")
        .option("query", request.query)
        .load()
    )
    session.sql(f"CREATE NAMESPACE IF NOT EXISTS demo.{request.namespace}")
    rows.writeTo(f"demo.{request.namespace}.{request.name}").partitionedBy(days(request.timestamp)).create()


if __name__ == "__main__":
    main()
