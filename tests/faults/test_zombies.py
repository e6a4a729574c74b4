"""Two attempts at once: a zombie lost its lock without noticing and wakes up late. Only one of the two publishes."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import product

import pytest

from offload_core.failpoints import Failpoint
from tests.support.spark.fault_tables import TradeTables
from tests.support.spark.faults import assert_exact

POINTS = [point.value for point in Failpoint]
UNPUBLISHED = POINTS[: POINTS.index("after-publish")]


def quick(case: tuple[str, str], *chosen: tuple[str, str]) -> object:
    """A case of a test; cases that are not chosen run in the full suite only."""
    return pytest.param(*case, marks=() if case in chosen else pytest.mark.full, id="-".join(case))


@pytest.mark.parametrize(
    ("point", "before"),
    [quick(case, ("after-audit", "filled")) for case in product(POINTS, ("empty", "filled"))],
)
def test_a_zombie_that_wakes_up_after_its_successor_publishes_nothing(
    trades: TradeTables, point: str, before: str
) -> None:
    world, table = trades.world, trades.take(10)
    if before == "filled":
        world.run_well(table)
        trades.insert(table, 10, 10)
    with world.paused(table, point, run_id="zombie") as zombie:
        trades.steal_lock(table, "zombie")
        trades.insert(table, 20, 10)
        world.run_well(table, run_id="successor")
        history = trades.valid_history(table)
    ended = world.finish(zombie)
    assert ended.status == 10, ended.output
    assert ended.error["retryable"]
    assert ended.error["kind"] in (("conflict", "audit") if point in UNPUBLISHED else ("postgres_connection",))
    assert trades.valid_history(table) == history
    trades.insert(table, 30, 5)
    world.run_well(table)
    assert_exact(world, table, rows=25 if before == "empty" else 35)


@pytest.mark.parametrize(
    ("zombies_point", "second_point"),
    [quick(case, ("after-audit", "after-files")) for case in product(UNPUBLISHED, UNPUBLISHED)],
)
def test_of_a_zombie_and_its_successor_at_once_one_publishes_whoever_is_first(
    trades: TradeTables, zombies_point: str, second_point: str
) -> None:
    world, table = trades.world, trades.take(10)
    world.run_well(table)
    trades.insert(table, 10, 10)
    with ExitStack() as later:
        with world.paused(table, zombies_point, run_id="zombie") as zombie:
            trades.steal_lock(table, "zombie")
            second = later.enter_context(world.paused(table, second_point, run_id="second"))
        first_ended = world.finish(zombie)
    second_ended = world.finish(second)
    assert first_ended.status == 10, first_ended.output
    assert second_ended.status in (0, 10), second_ended.output
    trades.insert(table, 20, 5)
    world.run_well(table)
    assert sum(row.row_count for row in trades.valid_history(table)) == 25
    assert_exact(world, table, rows=25)


def test_a_second_run_waits_for_the_first_and_then_says_who_holds_the_lock(trades: TradeTables) -> None:
    world, table = trades.world, trades.take(10)
    with world.paused(table, "after-files", run_id="scheduled__one") as first:
        second = world.with_settings(lock_wait_seconds=1).run(table, run_id="manual__two")
        assert second.status == 10
        assert second.error["kind"] == "table_locked"
        assert "scheduled__one" in str(second.error["message"])
    assert world.finish(first).status == 0
    assert_exact(world, table, rows=10)
