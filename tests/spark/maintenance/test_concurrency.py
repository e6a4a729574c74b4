"""Maintenance beside running offloads: both continue, and in the end every row is there once."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from offload_core.config.tables import TableConfig
from offload_core.protocol.plan import RunMode
from tests.support.spark.fault_tables import DAY, NOON, CandleTables, TradeTables
from tests.support.spark.faults import assert_exact
from tests.support.spark.maintained_table import cold, files_by_day, maintain, maintain_well
from tests.support.spark.world import FinishedJob, World

pytestmark = pytest.mark.full

HALF_DAY = 12 * 3600


def strict(world: World) -> World:
    """A world with small batches and snapshots that expire at once, so that maintenance commits often."""
    return world.with_settings(snapshot_age_hours=0, snapshots_to_keep=1, compaction_batch_mb=1)


class RepeatedMaintenance:
    """Maintains one table repeatedly while the block runs."""

    def __init__(self, world: World, table: TableConfig) -> None:
        self.ended: list[FinishedJob] = []
        self._over = Event()
        self._thread = Thread(target=self._repeat, args=(world, table))

    def _repeat(self, world: World, table: TableConfig) -> None:
        while not self._over.is_set():
            self.ended.append(maintain(world, table))

    def __enter__(self) -> RepeatedMaintenance:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def test_offloads_and_maintenance_at_once_lose_and_double_nothing(trades: TradeTables) -> None:
    world, table = strict(trades.world), trades.take(0)
    rows, retried = 0, 0
    with RepeatedMaintenance(world, table) as maintaining:
        for number in range(14):
            # Four runs a day: there is always a closed day with small files beside the open one.
            trades.insert(table, number * 6 * 3600, 20)
            rows += 20
            # With an environment of its own, a run starts a JVM, as maintenance does: they take equally long.
            ended = world.run(table, run_id=f"run_{number}", environ={})
            while ended.status != 0:
                assert ended.status == 10, ended.output
                assert ended.error["kind"] == "conflict", ended.output
                retried += 1
                ended = world.run(table, run_id=f"run_{number}", attempt=2, environ={})
        rounds = len(maintaining.ended)
    assert rounds > 1
    for ended in maintaining.ended:
        assert ended.status == 0, ended.output
    assert retried == 0
    assert sum("files became" in ended.output for ended in maintaining.ended) > 1
    assert_exact(world, table, rows=rows)

    record = maintain_well(world, table)
    days = files_by_day(world, table)
    assert [count for day, count in sorted(days.items())][:-1] == [1] * (len(days) - 1)
    assert record.after.snapshots <= 5
    assert record.after.manifests <= 10
    assert_exact(world, table, rows=rows)


def test_late_rows_in_a_compacted_day_are_inserted_and_the_day_is_compacted_again(trades: TradeTables) -> None:
    world, table = strict(trades.world), trades.take(10)
    for start in (0, 100, HALF_DAY + 600):
        trades.insert(table, start + 10, 10)
        world.run_well(table)
    maintain_well(world, table)
    trades.insert(table, 500, 10)
    world.run_well(table, mode=RunMode.REPAIR, interval_start=NOON, interval_end=NOON.replace(hour=13))
    assert files_by_day(world, table)["2026-11-01"] == 2
    maintain_well(world, table)
    assert files_by_day(world, table)["2026-11-01"] == 1
    assert_exact(world, table, rows=50)


def test_many_manifests_become_few(trades: TradeTables) -> None:
    world, table = strict(trades.world), trades.take(0)
    for number in range(12):
        trades.insert(table, number * 10, 10)
        world.run_well(table)
    record = maintain_well(world, table)
    assert record.before.manifests == 12
    assert record.after.manifests == 1
    trades.insert(table, 120, 10)
    world.run_well(table)
    assert_exact(world, table, rows=130)


def test_candles_are_replaced_and_merged_after_maintenance_as_before(candles: CandleTables) -> None:
    world, table = strict(candles.world), candles.take(10)
    world.run_well(table)
    candles.insert(table, 10, 30)
    world.run_well(table)
    maintain_well(world, table)
    candles.insert(table, 38, 4, version=2)
    world.run_well(table)
    assert_exact(world, table, rows=84)
    candles.delete_before(table, 30)
    candles.insert(table, 42, 8, version=3)
    world.run_well(table)
    maintain_well(world, table)
    assert cold(world, table).scan().count() == 100
    assert str(DAY.date()) in files_by_day(world, table)
