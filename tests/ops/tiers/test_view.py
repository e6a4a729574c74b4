"""The view of hot and cold rows shows every row once, whatever state the offload is in."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from offload_core.config.connections import Connections
from offload_core.config.tables import TableConfig
from offload_core.errors import QueryFailed
from offload_core.protocol.window import ORIGIN
from offload_core.source.projection import project
from offload_core.source.quoting import quote_table
from offload_core.source.table import describe
from offload_ops.tiers.row_hash import RowHash, clickhouse_hash
from tests.support.spark.fault_tables import NOON, CandleTables, prepared
from tests.support.spark.faults import visible_rows
from tests.support.spark.operated_table import OperatedTrades
from tests.support.spark.world import World, new_world
from tests.support.waiting import wait_until

_LARGEST = 2**64 - 1
INCORRECT_DATA = 117
_COLUMNS = {
    "id": ("UInt64", "i"),
    "happened": ("DateTime64(6, 'UTC')", f"toDateTime64('{NOON:%F %T}', 6, 'UTC') + intDiv(i, 3) * 3"),
    "number": ("UInt64", f"{_LARGEST} - 1000000000 + i"),
    "symbol": ("LowCardinality(String)", "['BTC', 'ETH'][i % 2 + 1]"),
    "note": ("LowCardinality(Nullable(String))", "if(i % 3 = 0, NULL, toString(i))"),
    "side": ("Nullable(Enum8('buy' = 1, 'sell' = 2))", "if(i % 5 = 0, NULL, ['buy', 'sell'][i % 2 + 1])"),
    "kind": ("Enum16('limit' = 1, 'it\\'s \\\\ odd' = 700)", "['limit', 'it\\'s \\\\ odd'][i % 2 + 1]"),
    "price": ("Decimal(38, 8)", "-toDecimal128(cityHash64(i), 8) / 100000000"),
    "small": ("UInt8", "255 - i % 9"),
    "middle": ("Nullable(UInt16)", "if(i % 4 = 0, NULL, 65535 - i % 9)"),
    "large": ("UInt32", "4294967295 - i % 9"),
    "signed": ("Int8", "i % 9 - 128"),
    "whole": ("Bool", "i % 2 = 0"),
    "ratio": ("Float64", "i / 7"),
    "day": ("Date", "toDate('1970-01-02') + i % 9000"),
    "seen": ("DateTime64(3, 'Europe/Berlin')", "toDateTime64('2026-10-25 00:30:00.123', 3, 'UTC') + i % 9000"),
    "until": ("DateTime('UTC')", "toDateTime('2026-10-25 00:30:00', 'UTC') + i % 9000"),
    "code": ("FixedString(4)", "concat('c', toString(i % 100))"),
    "uuid": ("UUID", "toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')"),
    "address": ("IPv4", "toIPv4('10.0.0.1') + i % 200"),
    "tags": ("Array(String)", "['a', 'it\\'s']"),
}
"""Columns of every type that the tiers store differently: the type, and a value made from the number `i` of the row."""


class ViewedTrades(OperatedTrades):
    """Trades with a type for every conversion between the tiers, and the view of each table.

    Three trades share each timestamp; the sequence numbers end at the largest possible one. A second table with suffix
    `_kept` keeps all rows for comparison.
    """

    def _create(self, table: TableConfig) -> None:
        columns = ", ".join(f"{name} {kind}" for name, (kind, _) in _COLUMNS.items())
        for name in (table.source, f"{table.source}_kept"):
            self.world.hot.command(f"CREATE TABLE {name} ({columns}) ENGINE = MergeTree ORDER BY (happened, number)")

    def _table(self, number: int) -> TableConfig:
        return super()._table(number).model_copy(update={"as_text": ("tags",)})

    def insert(self, table: TableConfig, first: int, count: int) -> None:
        """Insert trades, three in every third second past noon."""
        values = ", ".join(f"{value} AS {name}" for name, (_, value) in _COLUMNS.items())
        rows = f"SELECT {values} FROM (SELECT number + {first} AS i FROM numbers({count}))"
        for name in (table.source, f"{table.source}_kept"):
            self.world.hot.command(f"INSERT INTO {name} {rows}")

    def expire(self, table: TableConfig, before: int) -> None:
        """Remove the hot rows with an id below `before`, as TTL does."""
        self.world.hot.command(f"ALTER TABLE {table.source} DELETE WHERE id < {before} SETTINGS mutations_sync = 2")

    def require_whole(self, table: TableConfig, rows: int) -> None:
        """Require that the view has every row that was ever inserted, once."""
        seen, kept = self.hash_of(table, view_of(table)), self.hash_of(table, f"{table.source}_kept")
        assert (seen, seen.rows) == (kept, rows)

    def hash_of(self, table: TableConfig, relation: str) -> RowHash:
        """Count and hash of a relation with the table's columns."""
        columns = project(table, describe(self.world.hot, table, self.world.connections.clickhouse.database).columns)
        (row,) = self.world.hot.rows(f"SELECT count() AS n, toString({clickhouse_hash(columns)}) AS h FROM {relation}")
        return RowHash(int(row["n"]), int(row["h"]))


def view_of(table: TableConfig) -> str:
    return f"{table.source}_all"


@pytest.fixture(scope="module")
def trades(
    request: pytest.FixtureRequest, servers: Connections, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ViewedTrades]:
    with prepared(ViewedTrades, request, servers, tmp_path_factory) as made:
        yield made


@pytest.fixture
def table(trades: ViewedTrades) -> TableConfig:
    """A table, with its view, of 28 offloaded trades and 11 others, two of which share the last offloaded timestamp."""
    return viewed(trades)


def metadata_files(world: World, table: TableConfig) -> list[Path]:
    """The table's metadata files, oldest first."""
    return sorted(world.warehouse.joinpath(*table.target.split("."), "metadata").glob("*.metadata.json"))


@pytest.fixture(scope="module")
def settled(trades: ViewedTrades) -> TableConfig:
    """A table with trades and a view, for tests that do not change it."""
    return viewed(trades)


def viewed(trades: ViewedTrades) -> TableConfig:
    taken = trades.take(28)
    trades.world.run_well(taken)
    trades.insert(taken, 28, 11)
    trades.operate("view", taken, "--create")
    return taken


@contextmanager
def suppress_half_written() -> Iterator[None]:
    """ClickHouse searches for metadata files. In a local folder it may find an unfinished one, and reports it."""
    try:
        yield
    except QueryFailed as error:
        if error.code != INCORRECT_DATA:
            raise


class TestEveryRowIsThereOnce:
    def test_before_the_first_run_and_after_it(self, trades: ViewedTrades) -> None:
        table = trades.take(30)
        trades.operate("view", table, "--create")
        trades.require_whole(table, 30)
        trades.world.run_well(table)
        trades.require_whole(table, 30)

    def test_of_rows_that_share_the_boundarys_timestamp(self, trades: ViewedTrades, settled: TableConfig) -> None:
        (last,) = trades.world.hot.rows(f"SELECT max(happened) AS moment FROM {settled.source} WHERE id < 28")
        shared = f"SELECT count() AS n FROM {view_of(settled)} WHERE happened = '{last['moment']}'"
        assert visible_rows(trades.world, settled) == 28
        assert trades.world.hot.rows(shared) == [{"n": "3"}]
        trades.require_whole(settled, 39)

    def test_between_commit_and_ledger_row_and_when_all_hot_rows_have_expired(
        self, trades: ViewedTrades, table: TableConfig
    ) -> None:
        with trades.world.paused(table, "after-publish") as job:
            assert visible_rows(trades.world, table) == 39
            assert trades.kinds(table) == ["increment"]
            trades.require_whole(table, 39)
        trades.world.finish(job)
        trades.require_whole(table, 39)
        trades.expire(table, before=39)
        trades.require_whole(table, 39)

    def test_in_every_query_while_a_run_commits_in_chunks(self, trades: ViewedTrades, table: TableConfig) -> None:
        job = trades.world.with_settings(max_rows_per_commit=3).start(table)
        seen = set()
        while job.poll() is None:
            with suppress_half_written():
                trades.require_whole(table, 39)
            seen.add(visible_rows(trades.world, table))
        assert trades.world.finish(job).status == 0
        assert len(seen) > 2, "no query met the table between two commits"

    def test_when_a_commit_lands_between_the_search_for_the_boundary_and_the_scan(
        self, trades: ViewedTrades, table: TableConfig
    ) -> None:
        before = metadata_files(trades.world, table)[-1]
        earlier = before.with_name(f"99999-{uuid.uuid4()}.metadata.json")
        trades.world.run_well(table)
        # While the copy exists, the table looks as before the run. It is removed during the search for the boundary.
        shutil.copy(before, earlier)
        printed = trades.operate("view", table).strip().rstrip(";")
        view, search, rest = re.split(r"(?s)(?<=AS offload_since,)(.*?)(?=AS offload_boundary)", printed)
        assert "offload_since" in search
        # A query reads one state of a table that it names alike everywhere; here the scan names it differently.
        name = table.target.split(".")[1]
        apart = rest.replace(f"/{name}'", f"/{name}/'")
        assert apart != rest
        slow = f"{search.rstrip().removesuffix(')')} AND sleep(2) = 0) "
        trades.world.hot.command(f"{view[view.index('CREATE') :]}{slow}{apart}")
        with ThreadPoolExecutor(1) as pool:
            query = pool.submit(trades.hash_of, table, view_of(table))
            wait_until(lambda: is_searching(trades.world, table), "the search for the boundary")
            earlier.unlink()
            assert query.result() == trades.hash_of(table, f"{table.source}_kept")

    def test_after_the_watermark_was_reset_and_the_hot_rows_behind_it_have_expired(
        self, trades: ViewedTrades, table: TableConfig
    ) -> None:
        trades.world.reset(table, ORIGIN)
        trades.expire(table, before=25)
        trades.require_whole(table, 39)

    def test_of_recent_rows_by_reading_only_recent_files(self, trades: ViewedTrades) -> None:
        hour_ago = int((datetime.now(timezone.utc) - NOON).total_seconds()) - 3600
        table = trades.take(30)
        trades.insert(table, hour_ago, 30)
        trades.world.run_well(table)
        trades.insert(table, hour_ago + 30, 9)
        trades.operate("view", table, "--create")
        trades.require_whole(table, 69)

    @pytest.mark.full
    def test_of_late_rows_only_once_the_repair_has_put_them_into_iceberg(
        self, trades: ViewedTrades, table: TableConfig
    ) -> None:
        late = "SELECT t.* REPLACE (t.id + 1000 AS id, t.number - 500 AS number)"
        trades.world.hot.command(f"INSERT INTO {table.source} {late} FROM {table.source} AS t WHERE t.id < 3")
        assert trades.hash_of(table, table.source).rows == 42
        assert trades.hash_of(table, view_of(table)).rows == 39
        span = ("--from", NOON.isoformat(), "--to", (NOON + timedelta(seconds=9)).isoformat())
        trades.operate("repair", table, *span, "--yes")
        assert trades.hash_of(table, view_of(table)) == trades.hash_of(table, table.source)


class TestColumns:
    def test_have_the_hot_tables_names_order_and_types(self, trades: ViewedTrades, settled: TableConfig) -> None:
        hot, view = (described(trades.world, relation) for relation in (settled.source, view_of(settled)))
        assert view == hot

    def test_added_later_show_what_clickhouse_shows_in_rows_without_a_value(
        self, trades: ViewedTrades, table: TableConfig
    ) -> None:
        for name in (table.source, f"{table.source}_kept"):
            trades.world.hot.command(
                f"ALTER TABLE {name} ADD COLUMN venue LowCardinality(String), ADD COLUMN fee UInt64"
            )
        message = trades.operate("view", table, status=2)
        assert "no column 'venue', 'fee' yet" in message
        assert "offload init" in message
        trades.world.run_well(table)
        trades.operate("view", table, "--create")
        trades.require_whole(table, 39)


class TestFiles:
    def test_of_a_dropped_table_at_the_same_place_are_not_read(
        self, trades: ViewedTrades, settled: TableConfig
    ) -> None:
        oldest = metadata_files(trades.world, settled)[0]
        other = re.sub(r'"table-uuid"\s*:\s*"[^"]+"', f'"table-uuid":"{uuid.uuid4()}"', oldest.read_text())
        stranger = oldest.with_name(f"99999-{uuid.uuid4()}.metadata.json")
        stranger.write_text(other)
        try:
            (read,) = trades.world.hot.rows(f"SELECT count() AS n FROM icebergLocal('{oldest.parent.parent}')")
            assert read["n"] == "0", "without the UUID, the other table's metadata would be read"
            assert trades.world.hot.rows(f"SELECT count() AS n FROM {view_of(settled)} WHERE id < 28") == [{"n": "28"}]
            trades.expire(settled, before=28)
            trades.require_whole(settled, 39)
        finally:
            stranger.unlink()

    def test_of_a_commit_that_the_catalog_rejected_do_no_harm(self, trades: ViewedTrades, table: TableConfig) -> None:
        files = metadata_files(trades.world, table)
        number = files[-1].name.partition("-")[0]
        rival = files[-1].with_name(f"{number}-{uuid.uuid4()}.metadata.json")
        shutil.copy(files[0], rival)
        trades.require_whole(table, 39)


class TestFilters:
    def test_on_time_reach_the_hot_index_and_the_cold_partitions(self, trades: ViewedTrades) -> None:
        table = trades.take(0)
        for day in range(3):
            trades.insert(table, day * 86400, 30)
        trades.world.run_well(table)
        trades.insert(table, 3 * 86400, 30)
        trades.operate("view", table, "--create")
        last = (NOON + timedelta(days=2)).strftime("%F %T")
        query = (
            f"SELECT count() AS n FROM {view_of(table)} "
            f"WHERE happened >= '{last}' AND happened < '{last}' + INTERVAL 1 HOUR"
        )
        before = pruned_files(trades.world)
        assert trades.world.hot.rows(query) == [{"n": "30"}]
        # The boundary's own search in the newest two days prunes three, as all are older.
        assert pruned_files(trades.world) - before == 3 + 2
        plan = "\n".join(row["explain"] for row in trades.world.hot.rows(f"EXPLAIN indexes = 1 {query}"))
        assert re.search(r"PrimaryKey[\s│]+Keys:[\s│]+happened", plan), plan


class TestCandles:
    def test_are_there_once_whether_hot_or_cold(self, servers: Connections, tmp_path: Path) -> None:
        with new_world(servers, tmp_path) as world:
            candles = CandleTables(world, 1)
            table = candles.take(6)
            world.run_well(table)
            candles.insert(table, 6, 3)
            environ = {"OFFLOAD_TABLES": f"[{table.model_dump_json()}]"}
            world.offload("view", table.name, "--create", environ=environ)
            query = "SELECT * FROM {} ORDER BY window_start, symbol"
            whole = world.hot.rows(query.format(table.source))
            assert len(whole) == 18
            assert world.hot.rows(query.format(view_of(table))) == whole
            candles.delete_before(table, 5)
            assert world.hot.rows(query.format(view_of(table))) == whole
            assert described(world, view_of(table)) == described(world, table.source)


class TestCommand:
    def test_prints_what_it_would_create(self, trades: ViewedTrades, settled: TableConfig) -> None:
        printed = trades.operate("view", settled)
        trades.world.hot.command(f"DROP VIEW {view_of(settled)}")
        assert printed.rstrip().endswith(";")
        trades.world.hot.command(printed[printed.index("CREATE") :].rstrip().rstrip(";"))
        trades.require_whole(settled, 39)

    def test_never_replaces_a_table_of_the_views_name(self, trades: ViewedTrades) -> None:
        table = trades.take(3)
        trades.world.hot.command(f"CREATE TABLE {view_of(table)} (precious UInt8) ENGINE = MergeTree ORDER BY precious")
        trades.world.hot.command(f"INSERT INTO {view_of(table)} VALUES (1)")
        message = trades.operate("view", table, "--create", status=2)
        assert "which is not a view but a MergeTree table" in message
        assert trades.world.hot.rows(f"SELECT * FROM {view_of(table)}") == [{"precious": 1}]


def described(world: World, relation: str) -> list[tuple[str, str]]:
    return [(row["name"], row["type"]) for row in world.hot.rows(f"DESCRIBE {quote_table(relation)}")]


def is_searching(world: World, table: TableConfig) -> bool:
    """Whether a query of the table's view has been running for so long that it must be in the slow search."""
    ours = f"position(query, 'FROM {view_of(table)}') > 0 AND position(query, 'system.processes') = 0"
    (row,) = world.hot.rows(f"SELECT count() AS n FROM system.processes WHERE {ours} AND elapsed > 0.7")
    return bool(row["n"] != "0")


def pruned_files(world: World) -> int:
    rows = world.hot.rows("SELECT value FROM system.events WHERE event = 'IcebergPartitionPrunedFiles'")
    return int(rows[0]["value"]) if rows else 0
