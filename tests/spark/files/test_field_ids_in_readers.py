"""Every reader finds columns by their Iceberg ids, whatever their names are now; all files of the offload have ids.

Older files, and files that others have added, have no ids; readers use the table's name mapping for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from urllib.parse import urlparse

import pyarrow.parquet as pq
import pytest

from offload_core.config.connections import Connections
from offload_core.config.tables import TableConfig
from offload_ops.tiers.cold_table import open_cold_table
from tests.support.spark.foreign_writer import ForeignWriter, foreign_writer
from tests.support.spark.maintained_table import maintain_well
from tests.support.spark.readers import readers_python, sql_catalog
from tests.support.spark.world import World, new_world

NOON = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
TABLES = ("renamed", "again", "compacted")
READERS = ("pyiceberg", "Spark", "ClickHouse", "Polars")
_DELETED = 2
"""A manifest entry's status in Iceberg's specification."""
Sides = dict[int, "str | None"]
"""The values that a reader sees in the column `side`, under its current name, by the rows' ids."""


@pytest.fixture(scope="module")
def world(servers: Connections, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for all tests, each with its own table: row 1 is in a file with ids, row 2 in a file without."""
    with new_world(servers, tmp_path_factory.mktemp("world")) as world:
        for name in TABLES:
            world.hot.command(
                f"CREATE TABLE {name} (at DateTime64(6, 'UTC'), id UInt32, side Nullable(String)) "
                "ENGINE = MergeTree ORDER BY at"
            )
        world.init(*map(trades, TABLES))
        for name in TABLES:
            insert(world, name, 1, side="with ids")
            world.run_well(trades(name))
        add_files_without_ids(world, *TABLES)
        yield world


@pytest.fixture(scope="module")
def spark(world: World) -> Iterator[ForeignWriter]:
    with foreign_writer(world) as writer:
        yield writer


def trades(name: str) -> TableConfig:
    entry = {"source": name, "target": f"cold.{name}", "layer": "bronze", "timestamp_col": "at", "keys": ["id"]}
    return TableConfig.model_validate(entry)


def insert(world: World, name: str, number: int, **values: str) -> None:
    """Insert a row with this id; its timestamp is as many seconds past noon."""
    columns = ", ".join(["at", "id", *values])
    items = ", ".join(
        [f"'{NOON + timedelta(seconds=number):%F %T}'", str(number), *(f"'{one}'" for one in values.values())]
    )
    world.hot.command(f"INSERT INTO {name} ({columns}) VALUES ({items})")


def add_files_without_ids(world: World, *names: str) -> None:
    """Add a file as ClickHouse writes it, as other writers and old versions of the offload do."""
    script = "import sys; from pyiceberg.catalog import load_catalog\nfor name in sys.argv[1:]:\n"
    script += "    table = load_catalog('demo').load_table('cold.' + name)\n"
    script += "    table.add_files([table.location() + '/data/without_ids.parquet'])"
    for name in names:
        query = f"SELECT toDateTime64('{NOON:%F %T}', 6, 'UTC') AS at, 2::Int64 AS id, 'without' AS side FORMAT Parquet"
        world.hot.download(query, {}, {}, world.warehouse / "cold" / name / "data" / "without_ids.parquet")
    world.command([str(readers_python()), "-c", script, *names], environ={**sql_catalog(world), "PYTHONWARNINGS": ""})


def every_reader(world: World, spark: ForeignWriter, name: str, column: str) -> dict[str, Sides]:
    """The values that each reader sees in a column."""
    table = trades(name)
    rows = (
        open_cold_table(world.connections.iceberg, table.target)
        .scan(selected_fields=("id", column))
        .to_arrow()
        .to_pylist()
    )
    location = world.warehouse / "cold" / name
    found = {
        "pyiceberg": {row["id"]: row[column] for row in rows},
        "Spark": {row["id"]: row[column] for row in spark.sql(f"SELECT id, {column} FROM {spark.name(table)}")},
        "ClickHouse": {
            int(row["id"]): row[column]
            for row in world.hot.rows(f"SELECT id, {column} FROM icebergLocal('{location}', 'Parquet')")
        },
    }
    script = "import json, sys, polars as pl; from pyiceberg.catalog import load_catalog\n"
    script += (
        "rows = pl.scan_iceberg(load_catalog('demo').load_table(sys.argv[1])).select('id', sys.argv[2]).collect()\n"
    )
    script += "print(json.dumps(rows.rows()))"
    environ = {**sql_catalog(world), "POLARS_ICEBERG_PLANNER": "pyiceberg"}
    output = world.command([str(readers_python()), "-c", script, table.target, column], environ=environ)
    return {**found, "Polars": dict(json.loads(next(line for line in output.splitlines() if line.startswith("[["))))}


def field_ids(world: World, name: str) -> list[dict[str, int]]:
    """The ids in each of a table's files, oldest first."""
    entries = open_cold_table(world.connections.iceberg, f"cold.{name}").inspect.entries().to_pylist()
    live = sorted(
        (entry for entry in entries if entry["status"] != _DELETED), key=lambda entry: entry["sequence_number"]
    )
    paths = [entry["data_file"]["file_path"] for entry in live]
    schemas = [pq.read_schema(urlparse(path).path) for path in paths]
    return [
        {field.name: int(field.metadata[b"PARQUET:field_id"]) for field in schema if field.metadata}
        for schema in schemas
    ]


def table_ids(world: World, name: str) -> dict[str, int]:
    schema = open_cold_table(world.connections.iceberg, f"cold.{name}").schema()
    return {field.name: field.field_id for field in schema.fields}


def test_a_column_that_is_renamed_in_iceberg_keeps_its_values_in_every_reader(
    world: World, spark: ForeignWriter
) -> None:
    assert field_ids(world, "renamed") == [table_ids(world, "renamed"), {}]
    spark.sql(f"ALTER TABLE {spark.name(trades('renamed'))} RENAME COLUMN side TO taker_side")
    world.hot.command("ALTER TABLE renamed RENAME COLUMN side TO taker_side")
    world.hot.command("ALTER TABLE renamed ADD COLUMN fee Int32")
    insert(world, "renamed", 3, taker_side="renamed")
    world.run_well(trades("renamed"))

    assert (
        field_ids(world, "renamed")[-1] == table_ids(world, "renamed") == {"at": 1, "id": 2, "taker_side": 3, "fee": 4}
    )
    seen = {1: "with ids", 2: "without", 3: "renamed"}
    assert every_reader(world, spark, "renamed", "taker_side") == dict.fromkeys(READERS, seen)


def test_a_column_that_is_added_again_under_a_dropped_ones_name_shows_none_of_its_values(
    world: World, spark: ForeignWriter
) -> None:
    table = spark.name(trades("again"))
    spark.sql(f"ALTER TABLE {table} DROP COLUMN side")
    spark.sql(f"ALTER TABLE {table} ADD COLUMN side STRING")
    insert(world, "again", 3, side="new")
    world.run_well(trades("again"))

    seen = every_reader(world, spark, "again", "side")
    assert {reader: (sides[1], sides[3]) for reader, sides in seen.items()} == dict.fromkeys(READERS, (None, "new"))
    # A file without ids is ambiguous: Iceberg maps the name to the new column, and most readers follow that.
    assert {reader for reader, sides in seen.items() if sides[2] == "without"} == set(READERS) - {"ClickHouse"}


def test_compaction_gives_ids_to_files_that_had_none(world: World) -> None:
    insert(world, "compacted", 24 * 3600, side="the day after closes the day")
    world.run_well(trades("compacted"))
    maintain_well(world, trades("compacted"))
    assert field_ids(world, "compacted") == [table_ids(world, "compacted")] * 2
