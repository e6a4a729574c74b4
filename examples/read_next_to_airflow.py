"""Read cold trades in Airflow's own environment.

Usage: python read_next_to_airflow.py BTCUSDT 2026-11-20T10:00:00+00:00 SNAPSHOT_ID

pyiceberg's SQL catalog needs SQLAlchemy 2, but Airflow 2.11 has 1.4. The JDBC catalog is one PostgreSQL table that says
where each Iceberg table's metadata is, and a reader needs nothing else. PGHOST, PGPORT, PGUSER, PGPASSWORD and
PGDATABASE say where PostgreSQL is. In a DAG, fetch the row with PostgresHook. A REST catalog needs none of this.
"""

import sys
from datetime import datetime, timedelta

import psycopg
import pyarrow.compute as pc
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan
from pyiceberg.table import StaticTable

symbol, hour, snapshot = sys.argv[1], datetime.fromisoformat(sys.argv[2]), int(sys.argv[3])

with psycopg.connect() as connection:
    (location,) = connection.execute(
        "SELECT metadata_location FROM iceberg_tables "
        "WHERE catalog_name = 'demo' AND table_namespace = 'cold' AND table_name = 'silver_trades'"
    ).fetchone()
# The table as it is now, without later commits. The keys of an object store go into the second argument.
trades = StaticTable.from_metadata(location, {})


def during(start: datetime, length: timedelta) -> And:
    """Filter on time, so that pyiceberg skips other days and files."""
    return And(
        GreaterThanOrEqual("exchange_timestamp", start.isoformat()),
        LessThan("exchange_timestamp", (start + length).isoformat()),
    )


# One symbol for one hour.
rows = trades.scan(And(EqualTo("symbol", symbol), during(hour, timedelta(hours=1)))).to_arrow()
print(f"one hour: {rows.num_rows} trades, {pc.sum(rows['quantity'])} traded")

# One day of all symbols, batch by batch.
count, traded = 0, 0
for batch in trades.scan(during(hour.replace(hour=0), timedelta(days=1))).to_arrow_batch_reader():
    count, traded = count + batch.num_rows, traded + pc.sum(batch["quantity"]).as_py()
print(f"one day: {count} trades, {traded} traded")

# The table at an older snapshot.
print(f"in snapshot {snapshot}: {trades.scan(snapshot_id=snapshot).count()} trades")
