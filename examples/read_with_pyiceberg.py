"""Read cold trades with pyiceberg: python read_with_pyiceberg.py BTCUSDT 2026-11-20T10:00:00+00:00 SNAPSHOT_ID

In an environment of its own: pip install "pyiceberg[pyarrow,sql-postgres]" "psycopg[binary]". Where the catalog is, pyiceberg takes from
its own settings, so that no password is written down here: PYICEBERG_CATALOG__DEMO__TYPE=sql with
PYICEBERG_CATALOG__DEMO__URI=postgresql+psycopg://USER:PASSWORD@HOST:5432/offload, or TYPE=rest with URI=https://…
"""

import sys
from datetime import datetime, timedelta

import pyarrow.compute as pc
from pyiceberg.catalog import load_catalog
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan

symbol, hour, snapshot = sys.argv[1], datetime.fromisoformat(sys.argv[2]), int(sys.argv[3])
trades = load_catalog("demo").load_table("cold.silver_trades")


def during(start: datetime, length: timedelta) -> And:
    """A filter on time, by which pyiceberg leaves out days and files."""
    return And(
        GreaterThanOrEqual("exchange_timestamp", start.isoformat()),
        LessThan("exchange_timestamp", (start + length).isoformat()),
    )


# One symbol for one hour: name the columns you need.
scan = trades.scan(
    And(EqualTo("symbol", symbol), during(hour, timedelta(hours=1))),
    selected_fields=("exchange_timestamp", "price", "quantity"),
)
rows = scan.to_arrow()
print(f"one hour: {rows.num_rows} trades, {pc.sum(rows['quantity'])} traded")

# One day of everything, batch by batch: never more than a batch in memory.
count, traded = 0, 0
for batch in trades.scan(during(hour.replace(hour=0), timedelta(days=1))).to_arrow_batch_reader():
    count, traded = count + batch.num_rows, traded + pc.sum(batch["quantity"]).as_py()
print(f"one day: {count} trades, {traded} traded")

# The table as it was; trades.metadata.snapshots lists what can be gone back to.
print(f"in snapshot {snapshot}: {trades.scan(snapshot_id=snapshot).count()} trades")
