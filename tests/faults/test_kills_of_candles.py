"""kill -9 while candles are replaced or merged: every candle is there once, in its newest version."""

from __future__ import annotations

import signal
from datetime import timedelta

import pytest

from offload_core.protocol.window import Cursor
from tests.support.spark.fault_tables import BUFFER, DAY, CandleTables, TradeTables
from tests.support.spark.faults import assert_exact

KILLED = 128 + signal.SIGKILL


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("mid-read", marks=pytest.mark.full),
        pytest.param("after-branch-commit", marks=pytest.mark.full),
        pytest.param("after-audit", marks=pytest.mark.full),
        "after-publish",
        pytest.param("in-ledger-transaction", marks=pytest.mark.full),
    ],
)
def test_a_kill_while_a_partition_is_replaced_leaves_every_candle_once(candles: CandleTables, point: str) -> None:
    world, table = candles.world, candles.take(24)
    world.run_well(table, interval_end=DAY + timedelta(hours=12) + BUFFER)
    killed = world.run_armed(table, f"{point}:kill", interval_end=DAY + timedelta(hours=14) + BUFFER)
    assert killed.status == KILLED
    candles.insert(table, 13, 1, version=2)
    world.run_well(table, interval_end=DAY + timedelta(hours=16) + BUFFER)
    assert_exact(world, table, rows=2 * 16)


@pytest.mark.full
@pytest.mark.parametrize("point", ["after-branch-commit", "after-publish"])
def test_a_kill_while_candles_are_merged_keeps_those_that_ttl_has_taken(candles: CandleTables, point: str) -> None:
    world, table = candles.world, candles.take(24)
    world.run_well(table, interval_end=DAY + timedelta(hours=12) + BUFFER)
    candles.delete_before(table, 6)
    killed = world.run_armed(table, f"{point}:kill", interval_end=DAY + timedelta(hours=14) + BUFFER)
    assert killed.status == KILLED
    assert "merging by key" in killed.output
    world.run_well(table, interval_end=DAY + timedelta(hours=16) + BUFFER)
    assert candles.valid_history(table)[-1].total_records == 2 * 16
    assert_exact(world, table, rows=2 * 10)


@pytest.mark.full
@pytest.mark.parametrize("point", ["mid-read", "after-branch-commit", "after-publish"])
def test_a_kill_while_missing_rows_are_inserted_leaves_each_once(trades: TradeTables, point: str) -> None:
    world, table = trades.world, trades.take(10)
    trades.insert(table, 20, 10)
    world.run_well(table)
    trades.insert(table, 10, 10)
    world.reset(table, Cursor(DAY - timedelta(days=30)))
    assert world.run_armed(table, f"{point}:kill").status == KILLED
    world.run_well(table)
    assert_exact(world, table, rows=30)
