"""The latency of small queries and inserts while ClickHouse encodes a day's files."""

from __future__ import annotations

import shutil
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from benchmarks.layout_cases import LoadVariant
from benchmarks.layout_tier import TABLE, TIME, HotTier, cpu
from offload_core.config.connections import load_connections
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.queries import format_time

COLUMNS = ("fetch s", "CPU s", "peak MB", "query p50 ms", "p95", "max", "insert p50 ms", "p95", "max")
_INSERT = "INSERT INTO probe SELECT number, now64(6) FROM numbers(1000)"
_PAUSE_SECONDS = 0.01
_IDLE_SECONDS = 3.0


@dataclass(frozen=True)
class ProbeResult:
    """One fetch, and the latencies beside it.

    Attributes:
        wall_s, cpu_s: the wall time of the fetch, and ClickHouse's CPU time during it.
        peak_mb: peak memory of all queries together (10^6 bytes), as ClickHouse counts it.
        queries, inserts: the milliseconds of each small query and insert.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    queries: tuple[float, ...]
    inserts: tuple[float, ...]


def probe(hot: HotTier, variant: LoadVariant) -> ProbeResult:
    """Run small queries and inserts, one after another, beside a fetch."""
    done = threading.Event()
    connection = load_connections(hot.bench.environ).clickhouse
    with closing(ClickHouse(connection, timeout_seconds=60, settings=variant.probe_settings)) as client:
        client.command(
            "CREATE TABLE IF NOT EXISTS probe (n UInt64, moment DateTime64(6)) ENGINE = MergeTree ORDER BY n"
        )
        probes = _Probes(hot, client)
        thread = threading.Thread(target=probes.run, args=(done,))
        wall, before = time.monotonic(), cpu(hot.bench.servers()[0])
        thread.start()
        try:
            if variant.fetch is None:
                time.sleep(_IDLE_SECONDS)
            else:
                folder = hot.folder("load") / "data"
                shutil.rmtree(folder)
                folder.mkdir()
                hot.download(variant.fetch, folder)
        finally:
            wall, used = time.monotonic() - wall, cpu(hot.bench.servers()[0]) - before
            done.set()
            thread.join()
    return ProbeResult(wall, used, probes.peak / 1e6, tuple(probes.queries), tuple(probes.inserts))


class _Probes:
    def __init__(self, hot: HotTier, client: ClickHouse) -> None:
        self._client = client
        noon = f"toDateTime64('{format_time(hot.day)}', 6, 'UTC') + INTERVAL 12 HOUR"
        self._query = (
            f"SELECT symbol, count(), argMax(price, {TIME}) FROM {TABLE} "  # noqa: S608 - constants
            f"WHERE {TIME} >= {noon} AND {TIME} < {noon} + INTERVAL 5 MINUTE GROUP BY symbol"
        )
        self.queries: list[float] = []
        self.inserts: list[float] = []
        self.peak = 0

    def run(self, done: threading.Event) -> None:
        while not done.wait(_PAUSE_SECONDS):
            self.queries.append(_milliseconds(lambda: self._client.rows(self._query)))
            self.inserts.append(_milliseconds(lambda: self._client.command(_INSERT)))
            (row,) = self._client.rows("SELECT sum(memory_usage) AS bytes FROM system.processes")
            self.peak = max(self.peak, int(row["bytes"]))


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return (time.monotonic() - started) * 1000


def cells(results: Sequence[ProbeResult]) -> list[str]:
    """Return the medians of the fetches and the percentiles of all queries and inserts, in the order of `COLUMNS`."""
    wall, used, peak = (
        statistics.median(getattr(one, name) for one in results) for name in ("wall_s", "cpu_s", "peak_mb")
    )
    times = [[value for one in results for value in getattr(one, name)] for name in ("queries", "inserts")]
    return [f"{wall:.2f}", f"{used:.2f}", f"{peak:.0f}", *(cell for values in times for cell in _percentiles(values))]


def _percentiles(values: Sequence[float]) -> list[str]:
    ordered = sorted(values)
    return [f"{ordered[min(len(ordered) - 1, int(len(ordered) * share))]:.1f}" for share in (0.5, 0.95, 1)]
