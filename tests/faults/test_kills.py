"""kill -9 or an error at every durability boundary: the next run continues exactly."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from offload_core.failpoints import Failpoint
from tests.support.spark.fault_tables import TradeTables
from tests.support.spark.faults import assert_exact
from tests.support.waiting import wait_until

POINTS = [point.value for point in Failpoint]
PUBLISHED = ("after-publish", "in-ledger-transaction")
"""At these points the rows are in Iceberg but not yet in the ledger."""
KILLED = 128 + signal.SIGKILL
"""spark-submit's exit status if the job's Python process was killed."""


def is_alive(process: psutil.Process) -> bool:
    """Whether a process still runs; a process that has ended may be a zombie whose parent does not wait for it."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("point", POINTS)
def test_a_run_after_a_kill_leaves_neither_duplicate_nor_gap(trades: TradeTables, point: str) -> None:
    world, table = trades.world, trades.take(10)
    assert world.run_armed(table, f"{point}:kill").status == KILLED
    assert trades.kinds(table) == []
    trades.insert(table, 10, 5)
    world.run_well(table)
    steps = [(row.kind, row.row_count) for row in trades.valid_history(table)[1:]]
    assert steps == ([("recovered", 10), ("increment", 5)] if point in PUBLISHED else [("increment", 15)])
    assert_exact(world, table, rows=15)


@pytest.mark.full
@pytest.mark.parametrize("point", POINTS)
def test_a_run_after_a_failure_that_was_recorded_carries_on(trades: TradeTables, point: str) -> None:
    world, table = trades.world, trades.take(10)
    ended = world.run_armed(table, f"{point}:raise")
    assert (ended.status, ended.error["kind"]) == (10, "unavailable"), ended.output
    assert world.history(table)[0].kind == "failure"
    trades.insert(table, 10, 5)
    world.run_well(table)
    assert_exact(world, table, rows=15)


def test_a_recovery_reads_no_source_row_again(trades: TradeTables) -> None:
    world, table = trades.world, trades.take(10)
    assert world.run_armed(table, "after-publish:kill").status == KILLED
    files = set(world.warehouse.rglob("*.parquet"))
    ended = world.run_well(table)
    assert "Recovered" in ended.output
    assert "No new data to offload" in ended.output
    assert trades.kinds(table) == ["recovered", "empty"]
    assert set(world.warehouse.rglob("*.parquet")) == files
    assert_exact(world, table, rows=10)


@pytest.mark.parametrize("point", ["mid-read", pytest.param("after-branch-commit", marks=pytest.mark.full)])
def test_a_kill_in_the_second_chunk_of_a_window_is_where_the_next_run_goes_on(trades: TradeTables, point: str) -> None:
    world, table = trades.world.with_settings(max_rows_per_commit=8), trades.take(20)
    assert world.run_armed(table, f"{point}:kill:2").status == KILLED
    assert trades.kinds(table) == ["increment"]
    world.run_well(table)
    assert [row.row_count for row in trades.valid_history(table)[1:]] == [8, 8, 4]
    assert_exact(world, table, rows=20)


@pytest.mark.full
@pytest.mark.parametrize("point", ["after-audit", "after-publish"])
def test_a_run_after_an_attempt_whose_jvm_was_killed_carries_on(trades: TradeTables, point: str) -> None:
    world, table = trades.world, trades.take(10)
    with world.paused(table, point) as job:
        processes = psutil.Process(job.pid).children(recursive=True)
        os.kill(job.pid, signal.SIGKILL)
    world.finish(job)
    wait_until(lambda: not any(map(is_alive, processes)), "the job's Python to notice")
    # The ledger survives the JVM's death. It records the published rows, or that the outcome is unknown.
    assert trades.kinds(table) == (["increment"] if point == "after-publish" else [])
    newest = world.history(table)[0]
    assert newest.error_kind == (None if point == "after-publish" else "commit_state_unknown")
    trades.insert(table, 10, 5)
    world.run_well(table)
    assert [row.row_count for row in trades.valid_history(table)[1:]] == ([10, 5] if point == "after-publish" else [15])
    assert_exact(world, table, rows=15)
