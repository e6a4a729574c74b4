"""Columns change in ClickHouse during operation: Iceberg follows exactly, or the run names the column and stops."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from offload_core.config.connections import Connections
from offload_core.config.tables import TableConfig
from offload_core.protocol.window import Cursor
from offload_core.source.schema_drift import NAME_MAPPING
from offload_ops.tiers.cold_table import open_cold_table
from tests.support.spark.spark_reader import as_spark_text, spark_rows
from tests.support.spark.world import FinishedJob, World, new_world

NOON = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
FIX = 20


# Every test has a table of its own; creating them all at once takes seconds only once.
TRADES = {
    "evolving": "size Int32, price Decimal(9, 4), weight Float32, note String",
    "moving": "a Nullable(String), b String",
    "defaults": "note String",
    "frozen": "size Int32, note String",
    "refusing": "size Int64, note String",
    "renaming": "side String",
    "unmapped": "note String",
    "changing": "size Int32",
    "renamed": "note String",
    "dying": "note String",
}
CANDLES = TableConfig.model_validate(
    {
        "source": "candles",
        "target": "cold.candles",
        "layer": "gold",
        "timestamp_col": "window_start",
        "keys": ["symbol", "window_start"],
        "lookback_minutes": 120,
    }
)


@pytest.fixture(scope="module")
def world(servers: Connections, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for all tests."""
    with new_world(servers, tmp_path_factory.mktemp("drift")) as world:
        for name, columns in TRADES.items():
            world.hot.command(
                f"CREATE TABLE {name} (at DateTime64(6, 'UTC'), id UInt64, {columns}) ENGINE = MergeTree ORDER BY at"
            )
        world.hot.command(
            "CREATE TABLE candles (symbol String, window_start DateTime('UTC'), window_end DateTime('UTC'), "
            "volume Decimal(9, 4)) ENGINE = MergeTree ORDER BY (symbol, window_start)"
        )
        world.init(CANDLES, *map(trades, TRADES))
        yield world


def trades(name: str) -> TableConfig:
    """The entry of one of the tables of trades."""
    entry = {"source": name, "target": f"cold.{name}", "layer": "bronze", "timestamp_col": "at", "sequence_col": "id"}
    contract = "freeze" if name == "frozen" else "evolve"
    return TableConfig.model_validate({**entry, "keys": ["id"], "schema_contract": contract})


def insert(world: World, table: TableConfig, ids: Sequence[int], **values: str) -> None:
    """Insert a row for each id, one a second, with the same further values (ClickHouse's SQL) in each."""
    names = ", ".join(["at", "id", *values])
    items = ", ".join([f"toDateTime64('{NOON:%F %T}', 6, 'UTC') + n", "n", *values.values()])
    world.hot.command(f"INSERT INTO {table.source} ({names}) SELECT {items} FROM (SELECT arrayJoin({list(ids)}) AS n)")


def alter(world: World, table: TableConfig, *changes: str) -> None:
    """Change the ClickHouse table."""
    world.hot.command(f"ALTER TABLE {table.source} {', '.join(changes)} SETTINGS mutations_sync = 2")


def spark_sql(world: World, statement: str) -> None:
    """Run an operator's statement on the Iceberg table; `{iceberg}` is the catalog."""
    script = world.folder / "statement.py"
    script.write_text(
        "import os, sys\n"
        "from offload_core.config.connections import load_connections\n"
        "from offload_spark.runtime.session import start_session\n"
        "iceberg = load_connections(os.environ).iceberg\n"
        "start_session(iceberg).sql(sys.argv[1].format(iceberg=iceberg.name))\n"
    )
    result = world.finish(world.submit(str(script), [statement]))
    assert result.status == 0, result.output


def cold_rows(world: World, table: TableConfig, *columns: str) -> list[tuple[Any, ...]]:
    """The sorted rows of these columns, read by pyiceberg."""
    rows = open_cold_table(world.connections.iceberg, table.target).scan().to_arrow().to_pylist()
    return sorted(((tuple(row[name] for name in columns)) for row in rows), key=repr)


def assert_all_readers_see(world: World, table: TableConfig, rows: list[dict[str, object]], key: str) -> None:
    """Check that pyiceberg, Spark and ClickHouse's own Iceberg reader read exactly these rows, in order of `key`."""
    names = list(rows[0])
    scan = open_cold_table(world.connections.iceberg, table.target).scan(selected_fields=tuple(names))
    assert scan.to_arrow().sort_by(key).to_pylist() == rows
    seen = spark_rows(world, table.target, "true")
    in_text = [{name: as_spark_text(value) for name, value in row.items()} for row in rows]
    assert sorted(({name: row[name] for name in names} for row in seen), key=repr) == sorted(in_text, key=repr)
    location = world.warehouse.joinpath(*table.target.split("."))
    quoted = ", ".join(f"toString(`{name}`) AS `{name}`" for name in names)
    found = world.hot.rows(
        f"SELECT {quoted} FROM (SELECT * FROM icebergLocal('{location}', 'Parquet') ORDER BY `{key}`)"
    )
    assert found == [{name: as_clickhouse_text(value) for name, value in row.items()} for row in rows]


def as_clickhouse_text(value: object) -> str | None:
    """An expected value as ClickHouse's toString prints it."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S.%f}"
    return f"{value.normalize():f}" if isinstance(value, Decimal) else None if value is None else str(value)


def names_by_id(mapping: str) -> dict[int, list[str]]:
    """A name mapping's entries."""
    return {entry["field-id"]: entry["names"] for entry in json.loads(mapping)}


def assert_refused(world: World, table: TableConfig, *texts: str) -> None:
    """Check that a run stops before it reads, names the column, and changes neither cold tier nor watermark."""
    metadata = open_cold_table(world.connections.iceberg, table.target).metadata
    watermark = world.history(table)[0].cursor
    result = world.run(table)
    assert result.status == FIX, result.output
    assert result.error["kind"] == "column"
    assert all(text in str(result.error["message"]) for text in texts), result.error
    assert (world.history(table)[0].kind, world.history(table)[0].cursor) == ("failure", watermark)
    assert open_cold_table(world.connections.iceberg, table.target).metadata == metadata


def assert_starts_over(result: FinishedJob) -> None:
    """Check that the attempt started over because something moved, and succeeded."""
    assert result.status == 0, result.output
    assert "Starting over at once, start 2 of 3" in result.output


class TestEvolve:
    def test_added_and_widened_columns_of_an_append_table_are_exact_in_old_and_new_rows(self, world: World) -> None:
        table = trades("evolving")
        insert(world, table, [1], size="-5", price="'99999.9999'", weight="0.5", note="'old'")
        world.run_well(table)

        alter(
            world,
            table,
            "ADD COLUMN `the fee` Decimal(38, 8) FIRST",
            "ADD COLUMN maker Nullable(String) AFTER at",
            "MODIFY COLUMN size Int64",
            "MODIFY COLUMN price Decimal(18, 4)",
            "MODIFY COLUMN weight Float64",
            "MODIFY COLUMN note Nullable(String)",
        )
        world.require_equal(table, rows=1)
        fee = {"`the fee`": "'0.00000001'"}
        new = {"size": str(2**40), "price": "'99999999999999.9999'", "weight": "0.1", "note": "NULL", "maker": "'m'"}
        insert(world, table, [3], **new, **fee)
        result = world.run_well(table)

        for line in (
            "Column the fee added as decimal(38, 8)",
            "Column maker added as string",
            "Column size widened from int to long",
            "Column price widened from decimal(9, 4) to decimal(18, 4)",
            "Column weight widened from float to double",
            "Column note made optional",
        ):
            assert line in result.output
        world.require_equal(table, rows=2)

        # A late row goes through Spark, which reads ClickHouse's file by name.
        insert(world, table, [2], **new, **fee)
        world.reset(table, Cursor(NOON))
        assert "only those that are missing" in world.run_well(table).output
        world.require_equal(table, rows=3)

        def row(number: int, *values: object) -> dict[str, object]:
            names = ("size", "price", "weight", "note", "maker", "the fee")
            return {"id": Decimal(number), **dict(zip(names, values, strict=True))}

        wide = (2**40, Decimal("99999999999999.9999"), 0.1, None, "m", Decimal("0.00000001"))
        old = (-5, Decimal("99999.9999"), 0.5, "old", None, None)
        assert_all_readers_see(world, table, [row(1, *old), row(2, *wide), row(3, *wide)], "id")

    @pytest.mark.full
    def test_added_and_widened_columns_of_a_candle_table_are_exact_when_replaced_and_when_merged(
        self, world: World
    ) -> None:
        table = CANDLES

        def candles(hours: range, columns: str, values: str) -> None:
            start = f"toDateTime('{NOON:%F %T}', 'UTC') + 3600 * n"
            world.hot.command(
                f"INSERT INTO candles (symbol, window_start, window_end, {columns}) "
                f"SELECT 'A', {start}, {start} + 3600, {values} FROM (SELECT arrayJoin({list(hours)}) AS n)"
            )

        candles(range(0, 3), "volume", "1.5")
        world.run_well(table)
        alter(world, table, "ADD COLUMN trades UInt32", "MODIFY COLUMN volume Decimal(38, 4)")
        candles(range(3, 5), "volume, trades", "'1234567890.5', 7")
        assert "merging" not in world.run_well(table).output
        world.require_equal(table, rows=5)

        alter(world, table, "ADD COLUMN maker Nullable(String)", "MODIFY COLUMN trades UInt64 DEFAULT 0 FIRST")
        assert_refused(world, table, "'trades'", "long", "decimal(20, 0)")
        alter(world, table, "MODIFY COLUMN trades UInt32 DEFAULT 0 FIRST")
        alter(world, table, f"DELETE WHERE window_start < '{NOON + timedelta(hours=3):%F %T}'")
        alter(world, table, "UPDATE maker = 'late' WHERE window_start = '2026-11-01 16:00:00'")
        candles(range(5, 6), "volume, trades, maker", "2, 8, 'new'")
        result = world.run_well(table)
        assert "merging by key" in result.output
        assert "Column maker added as string" in result.output

        def row(hour: int, *values: object) -> dict[str, object]:
            start = NOON + timedelta(hours=hour)
            return {"window_start": start, **dict(zip(("volume", "trades", "maker"), values, strict=True))}

        taken = [row(hour, Decimal("1.5"), 0, None) for hour in range(3)]
        kept = [row(3, Decimal("1234567890.5"), 7, None), row(4, Decimal("1234567890.5"), 7, "late")]
        assert_all_readers_see(world, table, [*taken, *kept, row(5, Decimal(2), 8, "new")], "window_start")

    def test_a_column_that_is_no_longer_nullable_stays_as_it_is_and_the_order_of_columns_means_nothing(
        self, world: World
    ) -> None:
        table = trades("moving")
        insert(world, table, [1], a="'a1'", b="'b1'")
        world.run_well(table)
        alter(world, table, "MODIFY COLUMN a String DEFAULT '' AFTER b", "MODIFY COLUMN b String FIRST")
        insert(world, table, [2], a="'a2'", b="'b2'")
        assert "Column" not in world.run_well(table).output
        assert cold_rows(world, table, "a", "b") == [("a1", "b1"), ("a2", "b2")]
        world.require_equal(table, rows=2)

    def test_rows_before_an_added_column_count_as_its_default_and_nothing_else(self, world: World) -> None:
        table = trades("defaults")
        insert(world, table, [1, 2], note="'old'")
        world.run_well(table)
        alter(world, table, "ADD COLUMN side Enum8('buy' = 1, 'sell' = 2)", "ADD COLUMN fee Decimal(38, 8)")
        world.require_equal(table, rows=2)
        insert(world, table, [3], note="'new'", side="'sell'", fee="1")
        world.run_well(table)
        world.require_equal(table, rows=3)
        alter(world, table, "UPDATE fee = 1 WHERE id = 1")
        assert not world.compare(table).equal


class TestFreeze:
    def test_a_frozen_table_stops_until_init_follows_for_it(self, world: World) -> None:
        table = trades("frozen")
        insert(world, table, [1], size="1", note="''")
        world.run_well(table)
        alter(world, table, "ADD COLUMN fee UInt8", "MODIFY COLUMN size Int64", "MODIFY COLUMN note Nullable(String)")
        insert(world, table, [2], size=str(2**40), note="NULL", fee="7")
        assert_refused(
            world, table, "Column fee added", "Column size widened", "Column note made optional", "offload init"
        )
        world.init(table)
        world.run_well(table)
        assert cold_rows(world, table, "size", "note", "fee") == [(1, "", None), (2**40, None, 7)]
        world.require_equal(table, rows=2)


class TestRefused:
    def test_a_narrowed_an_unsupported_and_a_dropped_column_stop_the_table_until_they_are_put_right(
        self, world: World
    ) -> None:
        table = trades("refusing")
        insert(world, table, [1], size="1", note="'old'")
        world.run_well(table)
        insert(world, table, [2], size="2", note="'new'")

        alter(world, table, "MODIFY COLUMN size Int32", "ADD COLUMN fine String")
        assert_refused(world, table, "'size'", "is long", "needs int")
        alter(world, table, "MODIFY COLUMN size Int64", "ADD COLUMN tags Array(String)")
        assert_refused(world, table, "'tags'", "Array(String)")
        alter(world, table, "DROP COLUMN tags", "DROP COLUMN note")
        assert_refused(world, table, "'note'", "gone")
        alter(world, table, "ADD COLUMN note Nullable(String)")

        insert(world, table, [3], size="3", note="'newer'")
        result = world.run_well(table)
        assert "Column fine added as string" in result.output
        assert "Column note made optional" in result.output
        assert cold_rows(world, table, "size", "note", "fine") == [(1, "old", None), (2, None, ""), (3, "newer", "")]

    def test_a_renamed_column_stops_the_table_until_it_is_renamed_in_iceberg_and_its_old_name_stays_taken(
        self, world: World
    ) -> None:
        table = trades("renaming")
        insert(world, table, [1], side="'buy'")
        world.run_well(table)
        alter(world, table, "RENAME COLUMN side TO taker_side")
        insert(world, table, [2], taker_side="'sell'")
        assert_refused(world, table, "'side'", "renamed to 'taker_side'", "RENAME COLUMN side TO taker_side")

        spark_sql(world, "ALTER TABLE {iceberg}.cold.renaming RENAME COLUMN side TO taker_side")
        world.run_well(table)
        assert cold_rows(world, table, "id", "taker_side") == [(Decimal(1), "buy"), (Decimal(2), "sell")]
        world.require_equal(table, rows=2)

        alter(world, table, "ADD COLUMN side UInt8")
        insert(world, table, [3], taker_side="'sell'", side="1")
        assert_refused(world, table, "'side'", "dropped or renamed")

    def test_a_table_that_lost_its_name_mapping_gets_it_again_before_rows_are_read_as_null(self, world: World) -> None:
        table = trades("unmapped")
        insert(world, table, [1], note="'old'")
        world.run_well(table)
        mapping = open_cold_table(world.connections.iceberg, table.target).properties[NAME_MAPPING]
        spark_sql(world, "ALTER TABLE {iceberg}.cold.unmapped UNSET TBLPROPERTIES ('schema.name-mapping.default')")
        insert(world, table, [2], note="'new'")
        world.run_well(table)
        # The offload's own files are read by their ids; files of older versions and of other writers need the mapping.
        restored = open_cold_table(world.connections.iceberg, table.target).properties[NAME_MAPPING]
        assert names_by_id(restored) == names_by_id(mapping)
        assert cold_rows(world, table, "note") == [("new",), ("old",)]


class TestInTheMiddleOfARun:
    def test_a_column_that_changes_while_rows_are_read_makes_the_attempt_start_over(self, world: World) -> None:
        table = trades("changing")
        changes = (
            ("ADD COLUMN fee UInt8", {"size": "1", "fee": "9"}),
            ("MODIFY COLUMN size Int64", {"size": str(2**40), "fee": "8"}),
            ("MODIFY COLUMN size Nullable(Int64)", {"size": "NULL", "fee": "7"}),
        )
        for number, (change, values) in enumerate(changes, start=1):
            insert(world, table, [2 * number - 1], size="1")
            with world.paused(table, "before-read") as job:
                alter(world, table, change)
                insert(world, table, [2 * number], **values)
            assert_starts_over(world.finish(job))
            files = open_cold_table(world.connections.iceberg, table.target).inspect.files()
            on_disk = list(world.warehouse.joinpath("cold", "changing").rglob("*.parquet"))
            assert len(on_disk) == files.num_rows == number, "the first start's files were left behind"

        assert sorted(cold_rows(world, table, "id", "size", "fee")) == [
            (Decimal(1), 1, 0),
            (Decimal(2), 1, 9),
            (Decimal(3), 1, 0),
            (Decimal(4), 2**40, 8),
            (Decimal(5), 1, 0),
            (Decimal(6), None, 7),
        ]
        world.require_equal(table, rows=6)

    def test_a_column_that_is_renamed_while_rows_are_read_fails_the_attempt_and_then_the_table(
        self, world: World
    ) -> None:
        table = trades("renamed")
        insert(world, table, [1], note="'one'")
        with world.paused(table, "before-read") as job:
            alter(world, table, "RENAME COLUMN note TO remark")
        result = world.finish(job)
        assert result.status == FIX, result.output
        assert "note" in str(result.error["message"])
        assert_refused(world, table, "'note'", "'remark'")
        alter(world, table, "RENAME COLUMN remark TO note")
        world.run_well(table)
        world.require_equal(table, rows=1)

    def test_a_column_that_is_added_between_chunks_of_a_run_that_died_is_exact_in_the_rest(self, world: World) -> None:
        table = trades("dying")
        chunks = world.with_settings(max_rows_per_commit=2)
        insert(world, table, range(6), note="'old'")
        assert chunks.run_armed(table, "after-publish:kill").status != 0
        assert len(cold_rows(world, table, "id")) == 2
        alter(world, table, "ADD COLUMN fee UInt8", "MODIFY COLUMN note Nullable(String)")
        insert(world, table, [6, 7], note="NULL", fee="7")
        assert chunks.run_armed(table, "before-read:kill").status != 0
        assert "fee" in open_cold_table(world.connections.iceberg, table.target).schema().column_names
        alter(world, table, "MODIFY COLUMN fee UInt32")
        insert(world, table, [8], note="'new'", fee=str(2**32 - 1))
        assert "Column fee widened from int to long" in chunks.run_well(table).output
        assert cold_rows(world, table, "id", "note", "fee") == [
            *((Decimal(number), "old", None if number < 2 else 0) for number in range(6)),
            *((Decimal(number), None, 7) for number in (6, 7)),
            (Decimal(8), "new", 2**32 - 1),
        ]
        world.require_equal(table, rows=9)
