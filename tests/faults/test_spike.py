"""A spike: ten million rows in one window need no more memory than one million, and a kill loses no finished chunk."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from threading import Event, Thread

import psutil
import pytest

from offload_core.config.connections import Connections
from offload_core.config.tables import TableConfig
from tests.support.spark.faults import assert_exact
from tests.support.spark.world import FinishedJob, World, new_world
from tests.support.waiting import wait_until

pytestmark = pytest.mark.full

MILLION = 1_000_000
NOON = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
BUFFER = timedelta(minutes=5)
GIGABYTE = 2**30


def spike(target: str) -> TableConfig:
    """The entry of one source for a target table of the test's own."""
    return TableConfig.model_validate(
        {
            "source": "spike",
            "target": f"cold.{target}",
            "layer": "bronze",
            "timestamp_col": "exchange_timestamp",
            "sequence_col": "sequence_number",
            "keys": ["symbol", "trade_id"],
        }
    )


SMALL, LARGE, KILLED = spike("small"), spike("large"), spike("killed")


@pytest.fixture(scope="module")
def spiked(servers: Connections, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with ten million trades, one a millisecond from noon."""
    with new_world(servers, tmp_path_factory.mktemp("world")) as world:
        world.hot.command(
            "CREATE TABLE spike (exchange LowCardinality(String), symbol LowCardinality(String), trade_id String, "
            "side Nullable(Enum8('buy' = 1, 'sell' = 2)), price Decimal(38, 8), quantity Decimal(38, 8), "
            "exchange_timestamp DateTime64(6, 'UTC'), ingestion_timestamp DateTime64(6, 'UTC'), "
            "sequence_number UInt64) ENGINE = MergeTree PARTITION BY toDate(exchange_timestamp) "
            "ORDER BY (exchange_timestamp, sequence_number, symbol)"
        )
        world.hot.command(
            "INSERT INTO spike SELECT "
            "'binance', ['BTCUSDT', 'ETHUSDT', 'SOLUSDT', 'XRPUSDT'][1 + number % 4], toString(number), "
            "[NULL, 'buy', 'sell'][1 + number % 3], toDecimal128(20000 + cityHash64(number) % 80000000 / 1000, 8), "
            "toDecimal128(cityHash64(number, 1) % 1000000 / 100000, 8), "
            f"addMilliseconds(toDateTime64('{NOON:%F %T}', 6, 'UTC'), number) AS happened, happened + 1, number "
            f"FROM numbers({10 * MILLION})"
        )
        world.init(SMALL, LARGE, KILLED)
        yield world.with_settings(max_rows_per_commit=5 * MILLION)


class PeakMemory:
    """Measures a process and its children. Shared memory counts for each of them, so the result is an upper bound."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._root = psutil.Process(process.pid)
        self._ended = Event()
        self._thread = Thread(target=self._watch)
        self.bytes = 0

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            self.bytes = max(self.bytes, sum(_resident(process) for process in self._tree()))

    def _tree(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0


def measured_run(world: World, table: TableConfig, interval_end: datetime) -> tuple[FinishedJob, int]:
    """Run the job with the memory that Airflow gives it; returns the job and its peak memory in bytes."""
    job = world.start(table, interval_end=interval_end, environ={"SPARK_DRIVER_MEMORY": world.settings.driver_memory})
    with PeakMemory(job) as peak:
        result = world.finish(job)
    assert result.status == 0, result.output
    return result, peak.bytes


def test_ten_million_rows_in_one_window_need_hardly_more_memory_than_one_million(
    spiked: World, record_property: pytest.RecordProperty
) -> None:
    _, small = measured_run(spiked, SMALL, NOON + timedelta(milliseconds=MILLION - 1) + BUFFER)
    _, large = measured_run(spiked, LARGE, NOON + timedelta(hours=6))
    record_property("peak_bytes_1M", small)
    record_property("peak_bytes_10M", large)
    print(f"peak memory: 1 million rows {small / 2**20:.0f} MiB, 10 million rows {large / 2**20:.0f} MiB")
    assert [row.row_count for row in spiked.history(LARGE)] == [5 * MILLION, 5 * MILLION, 0]
    assert large <= 2 * GIGABYTE
    assert large <= 1.3 * small
    assert_exact(spiked, SMALL, rows=MILLION)
    assert_exact(spiked, LARGE, rows=10 * MILLION)


def test_a_kill_in_the_middle_of_the_spike_costs_only_the_chunk_it_hit(spiked: World) -> None:
    job = spiked.start(KILLED, run_id="killed")
    wait_until(lambda: spiked.history(KILLED)[0].kind == "increment" or job.poll() is not None, "the first chunk")
    os.killpg(job.pid, signal.SIGKILL)
    job.communicate()
    spiked.run_well(KILLED, run_id="resumed")
    steps = [(row.kind, row.row_count, row.run_id) for row in reversed(spiked.history(KILLED))]
    assert steps[1:] == [("increment", 5 * MILLION, "killed"), ("increment", 5 * MILLION, "resumed")]
    assert_exact(spiked, KILLED, rows=10 * MILLION)
