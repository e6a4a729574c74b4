"""Read cold trades with pyiceberg.

Usage: python read_with_pyiceberg.py BTCUSDT 2026-11-20T10:00:00+00:00 SNAPSHOT_ID

Install in a separate environment: pip install "pyiceberg[pyarrow,sql-postgres]" "psycopg[binary]"

pyiceberg finds the catalog through its own settings, so this file holds no password. Set
PYICEBERG_CATALOG__DEMO__TYPE=sql and
PYICEBERG_CATALOG__DEMO__URI=postgresql+psycopg://USER:PASSWORD@HOST:5432/offload, or TYPE=rest and URI=https://…
"""

import sys
from datetime import datetime, timedelta

import pyarrow.compute as pc
from pyiceberg.catalog import load_catalog
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan

symbol, hour, snapshot = sys.argv[1], datetime.fromisoformat(sys.argv[2]), int(sys.argv[3])
trades = load_catalog("demo").load_table("cold.silver_trades")


def during(start: datetime, length: timedelta) -> And:
    """Filter on time, so that pyiceberg skips other days and files."""
    return And(
        GreaterThanOrEqual("exchange_timestamp", start.isoformat()),
        LessThan("exchange_timestamp", (start + length).isoformat()),
    )


# One symbol for one hour, with only the columns you need.
scan = trades.scan(
    And(EqualTo("symbol", symbol), during(hour, timedelta(hours=1))),
    selected_fields=("exchange_timestamp", "price", "quantity"),
)
rows = scan.to_arrow()
print(f"one hour: {rows.num_rows} trades, {pc.sum(rows['quantity'])} traded")

# One day of all symbols, with never more than one batch in memory.
count, traded = 0, 0
for batch in trades.scan(during(hour.replace(hour=0), timedelta(days=1))).to_arrow_batch_reader():
    count, traded = count + batch.num_rows, traded + pc.sum(batch["quantity"]).as_py()
print(f"one day: {count} trades, {traded} traded")

# The table at an older snapshot. trades.metadata.snapshots lists the snapshots that exist.
print(f"in snapshot {snapshot}: {trades.scan(snapshot_id=snapshot).count()} trades")
