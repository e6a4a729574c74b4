"""Compacts files with several settings, and reads Iceberg tables; a Spark job for `benchmarks.layout`.

Arguments: the file of the request and the file of the answer, both JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from offload_core.config.connections import load_connections

MEGABYTE = 1 << 20
READS = ("one symbol, one hour", "one day", "count by hour")


def main() -> None:
    """Perform the request."""
    request: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    connection = load_connections(os.environ).iceberg
    # Imported by name, because benchmarks are type-checked without pyspark.
    session = importlib.import_module("offload_spark.runtime.session").start_session(connection)
    answer: dict[str, object] = {}
    if "compact" in request:
        files, variants = request["compact"]["files"], request["compact"]["variants"]
        first = next(iter(variants.values()))
        compact(
            session, connection.name, files, "warm_up", first
        )  # otherwise the first variant would include the JVM's compilation
        answer["compact"] = {
            name: compact(session, connection.name, files, f"compaction_{number}", variant)
            for number, (name, variant) in enumerate(variants.items())
        }
    if "read" in request:
        answer["read"] = read(session, request["read"])
    Path(sys.argv[2]).write_text(json.dumps(answer))


def jvm_cpu() -> float:
    """Return the CPU seconds of the JVM, which is this process's parent."""
    fields = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:13]) / os.sysconf("SC_CLK_TCK")


def compact(session: Any, catalog: str, files: str, name: str, variant: dict[str, Any]) -> dict[str, object]:
    """Create a table from these files, compact it, and return the cost, size and metadata of the result."""
    table = f"`{catalog}`.cold.{name}"
    properties = {"write.parquet.row-group-size-bytes": variant["row_group_mb"] * MEGABYTE, **variant["properties"]}
    listed = ", ".join(f"'{key}' = '{value}'" for key, value in properties.items())
    session.read.parquet(f"{files}/data").limit(0).createOrReplaceTempView("none")
    session.sql(f"CREATE TABLE {table} USING iceberg TBLPROPERTIES ({listed}) AS SELECT * FROM none")  # noqa: S608
    session.sql(f"CALL `{catalog}`.system.add_files('cold.{name}', '`parquet`.`{files}/data`')").collect()
    wall, cpu = time.monotonic(), jvm_cpu()
    session.sql(
        f"CALL `{catalog}`.system.rewrite_data_files(table => 'cold.{name}', strategy => 'sort', "
        f"sort_order => '{variant['sort_order']}', "
        f"options => map('rewrite-all', 'true', 'target-file-size-bytes', '{variant['target_mb'] * MEGABYTE}'))"
    ).collect()
    wall, cpu = time.monotonic() - wall, jvm_cpu() - cpu
    size = session.sql(f"SELECT sum(file_size_in_bytes) FROM {table}.files").first()[0]  # noqa: S608
    log = f"SELECT file FROM {table}.metadata_log_entries ORDER BY timestamp DESC"  # noqa: S608
    return {"wall_s": wall, "cpu_s": cpu, "mb": size / 1e6, "metadata": session.sql(log).first()[0]}


def read(session: Any, request: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Return the median seconds by table and read: wall time and the JVM's CPU time."""
    hour = datetime.fromisoformat(request["hour"])
    start, end = (f"TIMESTAMP '{moment:%F %T}+00:00'" for moment in (hour, hour + timedelta(hours=1)))
    inside = f"symbol = '{request['symbol']}' AND exchange_timestamp >= {start} AND exchange_timestamp < {end}"
    columns = session.read.format("iceberg").load(next(iter(request["tables"].values()))).columns
    every = ", ".join(f"`{column}`" for column in columns)
    queries = (
        f"SELECT count(*), sum(quantity), sum(price) FROM {{}} WHERE {inside}",  # noqa: S608
        f"SELECT bit_xor(xxhash64({every})) FROM {{}}",  # noqa: S608 - a maximum would be read from the metadata
        "SELECT date_trunc('hour', exchange_timestamp), count(*) FROM {} GROUP BY 1",
    )
    reads: dict[str, dict[str, str]] = {}
    for number, (name, metadata) in enumerate(request["tables"].items()):
        session.read.format("iceberg").load(metadata).createOrReplaceTempView(f"table_{number}")
        reads[name] = {one: query.format(f"table_{number}") for one, query in zip(READS, queries, strict=True)}
    costs: dict[str, dict[str, list[tuple[float, float]]]] = {name: {one: [] for one in READS} for name in reads}
    for turn in range(request["rounds"] + 1):
        for name, named in reads.items():
            for one, query in named.items():
                wall, cpu = time.monotonic(), jvm_cpu()
                session.sql(query).collect()  # a new frame each time, because a collected one reuses its shuffle files
                if turn:
                    costs[name][one].append((time.monotonic() - wall, jvm_cpu() - cpu))
    return {
        name: {one: [statistics.median(kind) for kind in zip(*pairs, strict=True)] for one, pairs in named.items()}
        for name, named in costs.items()
    }


main()
