"""Creates Iceberg tables from files, and reads them with pyiceberg and Polars, for `benchmarks.layout`.

It runs in the readers' environment. Arguments: the file of the request and the file of the answer, both JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

os.environ.setdefault("POLARS_ICEBERG_PLANNER", "pyiceberg")

import polars as pl  # type: ignore[import-not-found,unused-ignore]
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog  # type: ignore[import-not-found,unused-ignore]
from pyiceberg.table import StaticTable  # type: ignore[import-not-found,unused-ignore]

TIME = "exchange_timestamp"
READS = ("one symbol, one hour", "one day", "count by hour")


def register(folders: dict[str, str]) -> dict[str, str]:
    """Create a table from each folder's files, and return the locations of their metadata."""
    locations = {}
    for number, (name, folder) in enumerate(folders.items()):
        paths = sorted(str(path) for path in Path(folder, "data").glob("*.parquet"))
        catalog = SqlCatalog("layout", uri="sqlite:///:memory:", warehouse=f"file://{folder}")
        catalog.create_namespace("layout")
        table = catalog.create_table(f"layout.t{number}", pq.read_schema(paths[0]), location=f"file://{folder}")
        table.add_files(paths)
        locations[name] = str(table.metadata_location)
    return locations


def with_pyiceberg(metadata: str, symbol: str, hour: datetime) -> list[Callable[[], int]]:
    """Return the reads with pyiceberg; each one returns the number of rows that it read."""
    table = StaticTable.from_metadata(metadata)
    end = hour + timedelta(hours=1)
    condition = f"symbol = '{symbol}' and {TIME} >= '{hour.isoformat()}' and {TIME} < '{end.isoformat()}'"

    def one_hour() -> int:
        return int(table.scan(condition, selected_fields=(TIME, "price", "quantity")).to_arrow().num_rows)

    def one_day() -> int:
        return sum(batch.num_rows for batch in table.scan().to_arrow_batch_reader())

    def by_hour() -> int:
        times = table.scan(selected_fields=(TIME,)).to_arrow()
        hours = times.append_column("hour", pc.floor_temporal(times[TIME], unit="hour"))
        return int(pc.sum(hours.group_by("hour").aggregate([([], "count_all")])["count_all"]).as_py())

    return [one_hour, one_day, by_hour]


def with_polars(metadata: str, symbol: str, hour: datetime) -> list[Callable[[], int]]:
    """Return the reads with Polars; each one returns the number of rows that it read."""
    trades = pl.scan_iceberg(StaticTable.from_metadata(metadata))
    moment, end = pl.col(TIME), hour + timedelta(hours=1)

    def one_hour() -> int:
        found = trades.filter(moment >= hour, moment < end, pl.col("symbol") == symbol)
        return int(found.select(pl.len(), pl.col("quantity").sum(), pl.col("price").sum()).collect().item(0, 0))

    def one_day() -> int:
        return int(trades.select(pl.len(), pl.all().max()).collect(engine="streaming").item(0, 0))

    def by_hour() -> int:
        hours = trades.group_by(moment.dt.truncate("1h")).agg(pl.len().alias("trades"))
        return int(hours.collect()["trades"].sum())

    return [one_hour, one_day, by_hour]


def read(tables: dict[str, str], symbol: str, hour: str, rounds: int) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Return the median seconds by reader, table and read: wall time and CPU time.

    Raises:
        ValueError: a read returns different rows for different tables.
    """
    answer = {}
    for reader, prepare in (("pyiceberg", with_pyiceberg), ("Polars", with_polars)):
        reads = {
            name: dict(zip(READS, prepare(metadata, symbol, datetime.fromisoformat(hour)), strict=True))
            for name, metadata in tables.items()
        }
        costs: dict[str, dict[str, list[tuple[float, float]]]] = {name: {one: [] for one in READS} for name in tables}
        seen: dict[str, set[int]] = {one: set() for one in READS}
        for number in range(rounds + 1):
            for name, named in reads.items():
                for one, work in named.items():
                    wall, cpu = time.monotonic(), time.process_time()
                    seen[one].add(work())
                    if number:  # the first round warms the page cache
                        costs[name][one].append((time.monotonic() - wall, time.process_time() - cpu))
        if any(len(counts) > 1 for counts in seen.values()):
            raise ValueError(f"{reader} reads different rows: {seen}")
        answer[reader] = {
            name: {one: [statistics.median(kind) for kind in zip(*pairs, strict=True)] for one, pairs in named.items()}
            for name, named in costs.items()
        }
    return answer


def main() -> None:
    """Perform the request."""
    request: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    if "register" in request:
        answer: object = register(request["register"])
    else:
        answer = read(**{name: request["read"][name] for name in ("tables", "symbol", "hour", "rounds")})
    Path(sys.argv[2]).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
