"""A day of generated trades in a temporary ClickHouse, which is written to Parquet files and read again."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import psutil

from benchmarks.bench_stack import BenchStack, bench_stack, hours_ago
from benchmarks.layout_cases import FetchVariant
from benchmarks.measure import CommandFailed
from offload_core.config.connections import load_connections
from offload_core.jobs import spark_submit
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.projection import project
from offload_core.source.queries import format_time
from offload_core.source.quoting import quote_table
from offload_spark.fetch.clickhouse_source import PARQUET, ClickHouseSource, Selection

TABLE = "bronze_trades_binance"
TIME = "exchange_timestamp"
_DAY = timedelta(days=1)

Reads = dict[str, dict[str, dict[str, list[float]]]]
"""Seconds by reader, variant and read: wall time and the reader's CPU time."""


@dataclass(frozen=True)
class Written:
    """The cost of writing a day: wall seconds, ClickHouse's CPU seconds, size in 10^6 bytes."""

    wall_s: float
    cpu_s: float
    mb: float


@dataclass
class HotTier:
    """A day of trades in ClickHouse.

    Attributes:
        bench: the stack.
        client: a client of its ClickHouse.
        day: the start of the day (UTC).
        rows: the number of trades.
    """

    bench: BenchStack
    client: ClickHouse
    day: datetime
    rows: int

    def __post_init__(self) -> None:
        connections = load_connections(self.bench.environ)
        self._table = self.bench.table(TABLE)
        self._source = ClickHouseSource(self.client, self._table, connections.clickhouse.database)
        self._columns = project(self._table, self._source.describe().columns)
        self._server = self.bench.servers()[0]
        self._iceberg = connections.iceberg

    def folder(self, name: str) -> Path:
        """Create and return the folder of a variant's table, which ClickHouse can read."""
        path = Path(urlparse(self._iceberg.warehouse).path, "layout", name.replace(" ", "_").replace(",", ""))
        (path / "data").mkdir(parents=True, exist_ok=True)
        return path

    def write(self, fetch: FetchVariant, folder: Path) -> Written:
        """Let ClickHouse write the day's files again."""
        shutil.rmtree(folder / "data")
        (folder / "data").mkdir()
        wall, before = time.monotonic(), cpu(self._server)
        self.download(fetch, folder / "data")
        wall, used = time.monotonic() - wall, cpu(self._server) - before
        return Written(wall, used, sum(file.stat().st_size for file in (folder / "data").iterdir()) / 1e6)

    def download(self, fetch: FetchVariant, folder: Path) -> None:
        """Write the day's files into an empty folder."""
        everything = Selection(f"{TIME} >= toDateTime64('{format_time(self.day)}', 6, 'UTC')", {})
        requests = self._source.plan_files(everything, self._source.slices(everything), fetch.rows_per_file)
        items = ", ".join(column.select_item for column in self._columns)
        order = f" ORDER BY {fetch.order_by}" if fetch.order_by else ""

        def one(number: int) -> None:
            selection = requests[number].selection
            query = f"SELECT {items} FROM {quote_table(TABLE)} WHERE {selection.condition}{order} FORMAT Parquet"  # noqa: S608
            settings = {**PARQUET, **fetch.settings}
            self.client.download(query, selection.parameters, settings, folder / f"{number:04}.parquet")

        with ThreadPoolExecutor(fetch.parallel) as pool:
            list(pool.map(one, range(len(requests))))

    def register(self, folders: Mapping[str, Path]) -> dict[str, str]:
        """Create Iceberg tables from folders with files, and return the locations of their metadata."""
        request = {"register": {name: str(folder) for name, folder in folders.items()}}
        answer: dict[str, str] = self._in_readers(request)
        return answer

    def read(self, tables: Mapping[str, str], rounds: int) -> Reads:
        """Read every table with every reader, in turns, and return the medians."""
        parameters = {"symbol": "BTCUSDT", "day": self.day.isoformat(), "hour": (self.day + _DAY / 2).isoformat()}
        request = {**parameters, "tables": dict(tables), "rounds": rounds}
        reads: Reads = self._in_readers({"read": request})
        reads["ClickHouse"] = self._read_with_clickhouse(tables, rounds)
        reads["Spark"] = self.in_spark({"read": request})["read"]
        return reads

    def _read_with_clickhouse(self, tables: Mapping[str, str], rounds: int) -> dict[str, dict[str, list[float]]]:
        noon = f"toDateTime64('{format_time(self.day + _DAY / 2)}', 6, 'UTC')"
        hour = f"symbol = 'BTCUSDT' AND {TIME} >= {noon} AND {TIME} < {noon} + INTERVAL 1 HOUR"
        columns = ", ".join(f"max({column.name})" for column in self._columns)
        queries = {
            "one symbol, one hour": f"SELECT count(), sum(quantity), sum(price) FROM {{}} WHERE {hour}",  # noqa: S608
            "one day": f"SELECT {columns} FROM {{}}",  # noqa: S608
            "count by hour": f"SELECT toStartOfHour({TIME}) AS hour, count() FROM {{}} GROUP BY hour",  # noqa: S608
        }
        costs: dict[str, dict[str, list[tuple[float, float]]]] = {name: {one: [] for one in queries} for name in tables}
        for number in range(rounds + 1):
            for name, metadata in tables.items():
                location = Path(urlparse(metadata).path).parents[1]
                for one, query in queries.items():
                    wall, before = time.monotonic(), cpu(self._server)
                    self.client.rows(query.format(f"icebergLocal('{location}', 'Parquet')"))
                    if number:
                        costs[name][one].append((time.monotonic() - wall, cpu(self._server) - before))
        return {
            name: {one: [statistics.median(kind) for kind in zip(*pairs, strict=True)] for one, pairs in named.items()}
            for name, named in costs.items()
        }

    def _in_readers(self, request: Mapping[str, Any]) -> Any:
        python = self.bench.layout.envs / "readers" / "bin" / "python"
        return self._request([str(python), "-m", "benchmarks.layout_reads"], request)

    def in_spark(self, request: Mapping[str, Any]) -> Any:
        """Perform a request in one Spark session, and return its answer."""
        environ = self.bench.environ
        command = [str(Path(environ["OFFLOAD_SPARK_HOME"], "bin", "spark-submit")), "--master", "local[*]"]
        for key, value in spark_submit.configuration(environ).items():
            command += ["--conf", f"{key}={value}"]
        return self._request([*command, str(Path(__file__).with_name("layout_spark.py"))], request)

    def _request(self, command: list[str], request: Mapping[str, Any]) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            request_file, answer_file = Path(folder, "request.json"), Path(folder, "answer.json")
            request_file.write_text(json.dumps(request))
            result = subprocess.run(
                [*command, str(request_file), str(answer_file)],
                env=self.bench.environ,
                capture_output=True,
                text=True,
                check=False,
            )
            if result.returncode:
                raise CommandFailed(f"{command[-1]}: {result.stdout}{result.stderr}")
            return json.loads(answer_file.read_text())


def cpu(process: psutil.Process) -> float:
    """Return the user and system seconds of a process."""
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def hot_tier(rows: int) -> Iterator[HotTier]:
    """Run a temporary stack with a day of trades."""
    with bench_stack(airflow=False) as bench:
        client = ClickHouse(load_connections(bench.environ).clickhouse, timeout_seconds=600, pool_size=16)
        with closing(client):
            # Only bronze is needed, so the view that fills silver is dropped.
            client.command("DROP VIEW silver_trades_from_binance SYNC")
            day = hours_ago(48).replace(hour=0, minute=0, second=0)
            bench.feed(rows, day, day + _DAY, ["binance"])
            client.command(f"OPTIMIZE TABLE {quote_table(TABLE)} FINAL")
            yield HotTier(bench, client, day, rows)
