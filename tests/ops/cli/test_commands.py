"""The commands that run the Spark job, and those that read what it wrote, against real servers, Spark and Iceberg."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from offload_core.config.connections import Connections
from offload_core.config.tables import TableConfig
from offload_core.protocol.window import Cursor
from offload_ops.cli.app import Context
from tests.support.ledger.offload_command import Offload, offload
from tests.support.spark.fault_tables import NOON, TradeTables, prepared
from tests.support.spark.world import World

__all__ = ["offload"]

SECOND = timedelta(seconds=1)

OutputOf = Callable[..., str]


@pytest.fixture(scope="module")
def trades(
    request: pytest.FixtureRequest, servers: Connections, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TradeTables]:
    with prepared(TradeTables, request, servers, tmp_path_factory) as made:
        yield made


@pytest.fixture
def table(trades: TradeTables) -> TableConfig:
    """A table with ten trades, offloaded."""
    taken = trades.take(10)
    trades.world.run_well(taken)
    return taken


@pytest.fixture
def world(trades: TradeTables, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world; this process has the environment of a shell beside its servers."""
    for name, value in trades.world.environ().items():
        monkeypatch.setenv(name, value)
    return trades.world


@pytest.fixture
def context(world: World, table: TableConfig) -> Context:
    """What the commands work on."""
    return Context(world.connections, [table], world.settings)


@pytest.fixture
def output_of(offload: Offload, context: Context) -> OutputOf:
    """Runs a command, which must end with `status`, and returns all it said."""

    def output_of(*arguments: str, status: int = 0, context: Context = context) -> str:
        ended = offload(*arguments, context=context)
        assert ended.status == status, ended
        return ended.out + ended.err

    return output_of


def interval(first: int, last: int) -> list[str]:
    """The options of an interval of seconds past noon."""
    return ["--from", (NOON + first * SECOND).isoformat(), "--to", (NOON + last * SECOND).isoformat()]


def delete(world: World, table: TableConfig, condition: str) -> None:
    """Delete rows from ClickHouse, and wait for it."""
    world.hot.command(f"ALTER TABLE {table.source} DELETE WHERE {condition} SETTINGS mutations_sync = 2")


def test_repair_inserts_what_came_late_and_leaves_equal_tiers_alone(
    world: World, table: TableConfig, output_of: OutputOf, offload: Offload
):
    world.hot.command(
        f"INSERT INTO {table.source} "
        f"SELECT 1000 + number, toDateTime64('{NOON:%F %T}', 6, 'UTC') + number, number, 1 FROM numbers(3)"
    )
    repair = ["repair", table.name, *interval(0, 5)]
    before = world.history(table)

    elsewhere = output_of("repair", table.name, *interval(5, 10), "--yes")
    assert "ClickHouse holds 5 rows, Iceberg 5: equal." in elsewhere
    assert "There is nothing to do." in elsewhere
    dry = output_of(*repair, "--dry-run", status=1)
    assert "ClickHouse holds 8 rows, Iceberg 5: DIFFERENT." in dry
    assert "nothing was changed" in dry
    assert world.history(table) == before

    ended = offload(*repair, "--yes", "--json")
    result = json.loads(ended.out)
    assert "Rows repaired in " in ended.err
    assert (result["started"], result["equal"], result["cold_rows_before"], result["cold_rows"]) == (True, True, 5, 8)
    assert world.history(table)[0].kind == "repair"
    world.require_equal(table, rows=13)
    assert "There is nothing to do." in output_of(*repair, "--yes")


def test_verify_looks_at_an_interval_only(world: World, table: TableConfig, output_of: OutputOf):
    delete(world, table, "id = 2")

    assert "equal" in output_of("verify", table.name, *interval(5, 10))
    assert "DIFFERENT" in output_of("verify", table.name, *interval(0, 5), status=1)


def test_restate_replaces_what_was_changed_in_clickhouse_where_repair_can_not(
    world: World, table: TableConfig, output_of: OutputOf
):
    delete(world, table, "id IN (3, 4)")

    output = output_of("repair", table.name, *interval(0, 10), "--yes", status=2)
    assert "offload: The Spark job failed: Iceberg's" in output
    assert f"offload restate {table.name}" in output
    dry = output_of("restate", table.name, *interval(0, 10), "--dry-run", status=1)
    assert "10 rows of Iceberg would be REPLACED by 8 rows of ClickHouse." in dry

    output = output_of("restate", table.name, *interval(0, 10), "--yes")
    assert f"{table.name}: ClickHouse 8 rows, Iceberg 8: equal." in output
    world.require_equal(table, rows=8)
    assert world.history(table)[0].kind == "restate"


def test_restate_is_refused_before_it_asks_where_clickhouse_no_longer_holds_the_rows(
    world: World, table: TableConfig, output_of: OutputOf
):
    delete(world, table, "id < 4")

    output = output_of("restate", table.name, *interval(0, 10), status=2)
    assert "4 rows of Iceberg would be lost" in output
    assert "use `offload repair`" in output
    assert "[y/N]" not in output
    # The part that ClickHouse still holds can be restated. Repair keeps rows in Iceberg that ClickHouse has deleted.
    assert "There is nothing to do." in output_of("restate", table.name, *interval(4, 10))
    assert "There is nothing to do." in output_of("repair", table.name, *interval(0, 10))


def test_repair_also_offloads_what_lies_past_the_watermark(
    world: World, trades: TradeTables, table: TableConfig, output_of: OutputOf
):
    trades.insert(table, 10, 5)

    output = output_of("repair", table.name, *interval(0, 100), "--yes")

    assert "5 rows past the watermark would be offloaded as well." in output
    world.require_equal(table, rows=15)


def test_icebergs_own_watermark_replaces_one_that_can_not_be_true(
    world: World, trades: TradeTables, table: TableConfig, output_of: OutputOf
):
    trades.insert(table, 10, 5)
    world.reset(table, Cursor(NOON.replace(year=2101)))

    gap = output_of("reset", table.name, "--to", (NOON + 12 * SECOND).isoformat(), "--yes", status=2)
    assert "2 rows in between that have not been offloaded would be skipped" in gap
    output = output_of("reset", table.name, "--to", "iceberg", "--yes")

    assert "which is impossible (Iceberg's newest commit says 2026-11-01 12:00:09+00:00 #9)" in output
    with world.ledger() as ledger:
        assert ledger.cursor(table.name) == Cursor(NOON + 9 * SECOND, 9)


def test_init_and_doctor_find_everything_in_its_place_and_a_warehouse_that_is_gone(
    world: World, table: TableConfig, context: Context, output_of: OutputOf
):
    both = replace(context, tables=[table, table.model_copy(update={"target": "cold.not_yet"})])

    planned = output_of("init", "--dry-run", context=both)
    assert f"Iceberg: {table.target} exists\n" in planned
    assert "Iceberg: cold.not_yet would be created\n" in planned
    assert "not_yet: its watermark would start in 1970" in planned
    world.hot.command(f"ALTER TABLE {table.source} ADD COLUMN fee UInt8")
    assert f"{table.target} exists; would be changed: Column fee" in output_of("init", "--dry-run")

    output_of("doctor")
    moved = world.warehouse.with_name(f"{world.warehouse.name}_away")
    world.warehouse.rename(moved)
    try:
        output = output_of("doctor", status=1)
    finally:
        moved.rename(world.warehouse)
    assert "See that the warehouse" in " ".join(output.split())
