"""A full disk: nothing is published, the error says what to do, and once there is space the next attempt is exact."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.spark.fault_tables import TradeTables
from tests.support.spark.faults import assert_exact, visible_rows
from tests.support.spark.world import FinishedJob
from tests.support.stack.small_disk import SmallDisk, small_disk

ROWS = 20_000
"""This many trades are about half a megabyte of Parquet."""


@pytest.fixture
def disk(trades: TradeTables) -> Iterator[SmallDisk]:
    """A small disk with the next table's folder in the warehouse."""
    folder = trades.world.warehouse / "cold" / trades.next.name
    kept = folder.rename(folder.with_name(f"{folder.name}_kept"))
    with small_disk(folder, "8m") as disk:
        for path in sorted(kept.rglob("*")):
            target = folder / path.relative_to(kept)
            target.mkdir() if path.is_dir() else target.write_bytes(path.read_bytes())
        yield disk


def assert_says_full(ended: FinishedJob) -> None:
    """Check that the job ended with an error that may be retried, and named disk and remedy."""
    assert (ended.status, ended.error["kind"]) == (10, "disk_full"), ended.output
    assert "Free space" in str(ended.error["message"])
    assert "Traceback" not in ended.output


def test_a_warehouse_that_is_full_while_rows_are_fetched_leaves_nothing_behind(
    trades: TradeTables, disk: SmallDisk
) -> None:
    world, table = trades.world, trades.take(10)
    world.run_well(table)
    trades.insert(table, 10, ROWS)
    data = world.warehouse / "cold" / table.name / "data"
    before = set(data.rglob("*"))
    disk.fill(leaving=100_000)
    ended = world.run(table)
    assert_says_full(ended)
    assert str(data) in str(ended.error["message"])
    assert set(data.rglob("*")) == before
    disk.free()
    assert visible_rows(world, table) == 10
    world.run_well(table)
    assert_exact(world, table, rows=ROWS + 10)


@pytest.mark.parametrize(
    "point",
    [
        "after-audit",
        pytest.param("after-files", marks=pytest.mark.full),
        pytest.param("after-branch-commit", marks=pytest.mark.full),
    ],
)
def test_a_warehouse_that_is_full_at_a_commit_publishes_nothing(
    trades: TradeTables, disk: SmallDisk, point: str
) -> None:
    world, table = trades.world, trades.take(10)
    world.run_well(table)
    trades.insert(table, 10, 10)
    with world.paused(table, point) as job:
        disk.fill()
    assert_says_full(world.finish(job))
    disk.free()
    assert visible_rows(world, table) == 10
    assert trades.kinds(table) == ["increment"]
    world.run_well(table)
    assert_exact(world, table, rows=20)


@pytest.mark.full
def test_a_file_that_may_not_grow_any_further_is_a_full_disk_too(trades: TradeTables) -> None:
    world, table = trades.world, trades.take(ROWS)
    with world.paused(table, "before-read") as job:
        for process in psutil.Process(job.pid).children(recursive=True):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
    assert_says_full(world.finish(job))
    world.run_well(table)
    assert_exact(world, table, rows=ROWS)


@pytest.mark.full
def test_a_warehouse_that_can_not_be_written_says_so(trades: TradeTables) -> None:
    world, table = trades.world, trades.take(10)
    data: Path = world.warehouse / "cold" / table.name / "data"
    data.touch()
    ended = world.run(table)
    assert (ended.status, ended.error["kind"]) == (10, "iceberg_catalog"), ended.output
    assert "may write to it" in str(ended.error["message"])
    data.unlink()
    world.run_well(table)
    assert_exact(world, table, rows=10)
