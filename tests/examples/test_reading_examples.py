"""Every file in examples/ reads the cold tier correctly: original, compacted and evolved data files."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from install.layout import Layout
from offload_core.config.connections import Connections
from offload_core.config.tables import TableConfig
from offload_ops.tiers.cold_table import open_cold_table
from tests.support.checkout import CHECKOUT
from tests.support.spark.foreign_writer import foreign_writer
from tests.support.spark.readers import readers_python, sql_catalog
from tests.support.spark.world import World, new_world

EXAMPLES = CHECKOUT / "examples"
HOUR = timedelta(hours=1)
SYMBOL = "BTCUSDT"
LINE = re.compile(r"^(one hour|one day|in snapshot \d+): (\d+) trades(?:, ([\d.]+) traded)?$", re.MULTILINE)


@dataclass(frozen=True)
class ExampleOutput:
    """An example's output: one symbol's trades in one hour, all trades of one day, and the older snapshot's count."""

    hour: tuple[int, Decimal]
    day: tuple[int, Decimal]
    snapshot: int


@dataclass(frozen=True)
class History:
    """A silver table: its first rows are compacted, its last ones are not, and it got a column in between.

    Attributes:
        hour: the hour to read (UTC).
        snapshot: the snapshot before the last run.
        truth: the answer from ClickHouse's own rows.
    """

    world: World
    hour: datetime
    snapshot: int
    truth: ExampleOutput

    @property
    def arguments(self) -> list[str]:
        return [SYMBOL, self.hour.isoformat(), str(self.snapshot)]


@pytest.fixture(scope="module")
def history(servers: Connections, tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    with new_world(servers, tmp_path_factory.mktemp("world")) as world:
        yield offloaded(world, world.table("silver_trades"))


def offloaded(world: World, table: TableConfig) -> History:
    midnight = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    hour = midnight + 10 * HOUR
    world.create_hot_tier()
    world.init(table)
    # Two days, and an hour whose first half is compacted and whose second isn't.
    feed(world, midnight - 5 * HOUR, hour + HOUR / 2)
    world.run_well(table)
    with foreign_writer(world) as spark:
        (compacted,) = spark.call("rewrite_data_files", table, "options => map('rewrite-all', 'true')")
    assert compacted["rewritten_data_files_count"] > 1
    snapshot = open_cold_table(world.connections.iceberg, table.target).metadata.current_snapshot_id
    assert snapshot is not None
    world.hot.command("ALTER TABLE silver_trades ADD COLUMN venue LowCardinality(String)")
    feed(world, hour + HOUR / 2, midnight + 16 * HOUR)
    before = rows_up_to(world, hour + HOUR / 2)
    world.run_well(table)
    truth = ExampleOutput(read_hot(world, hour, HOUR, SYMBOL), read_hot(world, midnight, timedelta(days=1)), before)
    assert truth.hour[0] > 20
    return History(world, hour, snapshot, truth)


def feed(world: World, start: datetime, end: datetime) -> None:
    history = [str(Layout.of_checkout().python("devstack")), "-m", "devstack.market_feed", "history"]
    span = ["--from", start.isoformat(), "--to", end.isoformat()]
    world.command([*history, "--seed", "3", "--exchange", "binance", "--rows", "20000", *span])


def read_hot(world: World, start: datetime, length: timedelta, symbol: str | None = None) -> tuple[int, Decimal]:
    (row,) = world.hot.rows(
        "SELECT count() AS n, sum(quantity) AS traded FROM silver_trades "
        "WHERE exchange_timestamp >= toDateTime64({start:String}, 6, 'UTC') "
        "AND exchange_timestamp < toDateTime64({end:String}, 6, 'UTC') "
        "AND ({symbol:String} = '' OR symbol = {symbol:String})",
        {"start": f"{start:%F %T}", "end": f"{start + length:%F %T}", "symbol": symbol or ""},
    )
    return int(row["n"]), Decimal(row["traded"])


def rows_up_to(world: World, end: datetime) -> int:
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    return read_hot(world, epoch, end - epoch)[0]


def parse_answer(output: str) -> ExampleOutput:
    found = {match[1].partition(" ")[2]: match for match in LINE.finditer(output)}
    hour, day = ((int(found[what][2]), Decimal(found[what][3])) for what in ("hour", "day"))
    (snapshot,) = (int(match[2]) for what, match in found.items() if what.startswith("snapshot"))
    return ExampleOutput(hour, day, snapshot)


@pytest.fixture(scope="module")
def readers() -> Path:
    """The Python of the readers' environment."""
    return readers_python()


@pytest.mark.parametrize("example", ["read_with_pyiceberg.py", "read_with_polars.py"])
def test_reading_through_the_catalog_is_right(history: History, readers: Path, example: str) -> None:
    command = [str(readers), str(EXAMPLES / example), *history.arguments]
    assert parse_answer(history.world.command(command, environ=sql_catalog(history.world))) == history.truth


def test_reading_next_to_airflow_is_right(history: History) -> None:
    server = history.world.connections.postgres
    environ = {
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGUSER": server.user,
        "PGPASSWORD": server.password.get_secret_value(),
        "PGDATABASE": server.database,
    }
    command = [sys.executable, str(EXAMPLES / "read_next_to_airflow.py"), *history.arguments]
    assert parse_answer(history.world.command(command, environ=environ)) == history.truth


def test_reading_with_spark_is_right(history: History) -> None:
    catalog = history.world.connections.iceberg
    environ = {
        "CATALOG_URI": catalog.uri,
        "CATALOG_USER": catalog.user,
        "CATALOG_PASSWORD": catalog.password.get_secret_value(),
        "WAREHOUSE": catalog.warehouse,
    }
    job = history.world.submit(str(EXAMPLES / "read_with_spark.py"), history.arguments, environ=environ)
    ended = history.world.finish(job)
    assert ended.status == 0, ended.output
    assert parse_answer(ended.output) == history.truth


def test_reading_with_clickhouse_is_right(history: History) -> None:
    parameters = {
        "table": str(history.world.warehouse / "cold" / "silver_trades"),
        "symbol": SYMBOL,
        "hour": f"{history.hour:%F %T}",
        "snapshot": str(history.snapshot),
    }
    queries = [query for query in (EXAMPLES / "read_with_clickhouse.sql").read_text().split(";") if query.strip()]
    hour, day, snapshot = (history.world.hot.rows(query, parameters)[0] for query in queries)
    found = [(int(row["trades"]), Decimal(row["traded"])) for row in (hour, day)]
    assert ExampleOutput(found[0], found[1], int(snapshot["trades"])) == history.truth


def test_the_documentation_shows_the_very_files() -> None:
    text = (CHECKOUT / "docs" / "reading.md").read_text()
    examples = sorted(path for path in EXAMPLES.iterdir() if path.is_file())
    assert len(examples) >= 5
    for path in examples:
        language = {".py": "python", ".sql": "sql"}[path.suffix]
        assert f"```{language}\n{path.read_text()}```" in text, f"docs/reading.md doesn't show {path.name} as it is"
