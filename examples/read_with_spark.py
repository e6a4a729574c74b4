"""Read cold trades with Spark SQL.

Usage: spark-submit read_with_spark.py BTCUSDT 2026-11-20T10:00:00+00:00 SNAPSHOT_ID

Put Iceberg's Spark runtime and PostgreSQL's JDBC driver on the class path. CATALOG_URI
(jdbc:postgresql://HOST:5432/offload), CATALOG_USER, CATALOG_PASSWORD and WAREHOUSE say where the catalog is. The
program sets the password after the session has started, because Spark's UI shows what a session was started with.
"""

import os
import sys
from datetime import datetime, timedelta

from pyspark.sql import SparkSession

symbol, hour, snapshot = sys.argv[1], datetime.fromisoformat(sys.argv[2]), int(sys.argv[3])

spark = SparkSession.builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
catalog = {
    "": "org.apache.iceberg.spark.SparkCatalog",
    ".type": "jdbc",
    ".uri": os.environ["CATALOG_URI"],
    ".warehouse": os.environ["WAREHOUSE"],
    ".jdbc.schema-version": "V1",
    ".jdbc.user": os.environ["CATALOG_USER"],
    ".jdbc.password": os.environ["CATALOG_PASSWORD"],
}
for key, value in catalog.items():
    spark.conf.set(f"spark.sql.catalog.demo{key}", value)

DURING = """
SELECT count(*), sum(quantity) FROM demo.cold.silver_trades
WHERE exchange_timestamp >= :start AND exchange_timestamp < :end
"""

# One symbol for one hour.
arguments = {"start": hour, "end": hour + timedelta(hours=1), "symbol": symbol}
count, traded = spark.sql(f"{DURING} AND symbol = :symbol", arguments).first()
print(f"one hour: {count} trades, {traded} traded")

# One day of all symbols.
day = hour.replace(hour=0)
count, traded = spark.sql(DURING, {"start": day, "end": day + timedelta(days=1)}).first()
print(f"one day: {count} trades, {traded} traded")

# The table at an older snapshot; in SQL: … VERSION AS OF id.
# SELECT * FROM demo.cold.silver_trades.snapshots lists the snapshots that exist.
before = spark.read.option("snapshot-id", snapshot).table("demo.cold.silver_trades").count()
print(f"in snapshot {snapshot}: {before} trades")
