"""Read cold trades with Polars.

Usage: python read_with_polars.py BTCUSDT 2026-11-20T10:00:00+00:00 SNAPSHOT_ID

Install: pip install polars "pyiceberg[pyarrow,sql-postgres]" "psycopg[binary]"

Polars finds the files through pyiceberg and reads them itself. pyiceberg's settings say where the catalog is (see
read_with_pyiceberg.py).
"""

import os
import sys
from datetime import datetime, timedelta

# Let pyiceberg plan the scans. Otherwise, Polars 2 asks for its own plug-in each time.
os.environ.setdefault("POLARS_ICEBERG_PLANNER", "pyiceberg")

import polars as pl
from pyiceberg.catalog import load_catalog

symbol, hour, snapshot = sys.argv[1], datetime.fromisoformat(sys.argv[2]), int(sys.argv[3])
table = load_catalog("demo").load_table("cold.silver_trades")
trades = pl.scan_iceberg(table)
time = pl.col("exchange_timestamp")
summary = (pl.len().alias("trades"), pl.col("quantity").sum())

# One symbol for one hour.
one_hour = trades.filter(time >= hour, time < hour + timedelta(hours=1), pl.col("symbol") == symbol)
count, traded = one_hour.select(summary).collect().row(0)
print(f"one hour: {count} trades, {traded} traded")

# One day of all symbols.
day = hour.replace(hour=0)
one_day = trades.filter(time >= day, time < day + timedelta(days=1))
count, traded = one_day.select(summary).collect(engine="streaming").row(0)
print(f"one day: {count} trades, {traded} traded")

# The table at an older snapshot.
before = pl.scan_iceberg(table, snapshot_id=snapshot).select(pl.len()).collect().item()
print(f"in snapshot {snapshot}: {before} trades")
