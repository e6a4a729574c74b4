"""What the audit finds if something is wrong, and that it finds nothing otherwise."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlparse

import pytest

from offload_core.config.connections import Connections
from offload_core.config.tables import TableConfig
from offload_core.errors import CatalogUnavailable, ClickHouseUnavailable, LedgerUnavailable
from offload_core.protocol.plan import RunMode
from offload_core.protocol.window import MICROSECOND, Cursor, Interval
from offload_core.source.clickhouse import ClickHouse
from offload_ops.audit.compare import ColdSource, Differences, Finding, TableAudit
from offload_ops.tiers.cold_table import open_cold_table
from tests.support.ledger.audits import audit, auditor_of
from tests.support.spark.fault_tables import DAY, NOON, CandleTables, prepared
from tests.support.spark.foreign_writer import ForeignWriter, foreign_writer
from tests.support.spark.operated_table import OperatedTrades
from tests.support.spark.world import World, new_world

HOUR = timedelta(hours=1)
BUFFER = timedelta(minutes=5)
ROWS = 7_201
"""Two hours of one trade per second, from 12:00 to 14:00. They lie in three windows, which start at 55 minutes past."""
FIRST, SECOND, THIRD = (NOON - BUFFER + number * HOUR for number in range(3))


class PartitionedTrades(OperatedTrades):
    """Trades tables that ClickHouse keeps by the hour."""

    def _create(self, table: TableConfig) -> None:
        self.world.hot.command(
            f"CREATE TABLE {table.source} "
            "(id UInt64, happened DateTime64(6, 'UTC'), number UInt64, price Decimal(38, 8)) "
            "ENGINE = MergeTree PARTITION BY toStartOfHour(happened) ORDER BY (happened, number)"
        )


@pytest.fixture(scope="module")
def trades(
    request: pytest.FixtureRequest, servers: Connections, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PartitionedTrades]:
    with prepared(PartitionedTrades, request, servers, tmp_path_factory) as made:
        yield made


@pytest.fixture(scope="module")
def candles(servers: Connections, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CandleTables]:
    with new_world(servers, tmp_path_factory.mktemp("world")) as world:
        yield CandleTables(world, 2)


@pytest.fixture(scope="module")
def foreign(trades: PartitionedTrades) -> Iterator[ForeignWriter]:
    with foreign_writer(trades.world) as writer:
        yield writer


@pytest.fixture
def world(trades: PartitionedTrades) -> World:
    return trades.world


@pytest.fixture
def table(trades: PartitionedTrades) -> TableConfig:
    """Two hours of trades, offloaded and audited as equal."""
    taken = trades.take(ROWS)
    trades.world.run_well(taken)
    found = audit(trades.world, taken)
    assert found.is_equal, found.differing
    assert rows_by_window(found) == [3_301, 3_600, 300]
    return taken


def rows_by_window(found: TableAudit) -> list[int]:
    return [window.cold.rows for window in found.windows]


def start_of(moment: datetime) -> datetime:
    return moment + timedelta(microseconds=1)


def insert_late(world: World, table: TableConfig, start: datetime, count: int, first_id: int = 100_000) -> None:
    """Insert trades that arrive late, each half a second after one that was offloaded before."""
    world.hot.command(
        f"INSERT INTO {table.source} SELECT number + {first_id} AS id, "
        f"toDateTime64('{start:%F %T}', 6, 'UTC') + number + INTERVAL 500 MILLISECOND, id, 1 FROM numbers({count})"
    )


def only(found: TableAudit, finding: Finding, start: datetime, differences: Differences) -> str:
    """Require that the audit found only this, and return the explanation, which names table and window."""
    (window,) = found.differing
    assert (window.finding, window.differences) == (finding, differences), window
    assert window.window == Interval(start_of(start), start_of(start) + HOUR)
    shown = f"{found.table.name} from {window.window.start:%F %T} to {window.window.end:%F %T}"
    assert window.explanation.startswith(shown), window.explanation
    return window.explanation


def paths(world: World, table: TableConfig) -> list[Path]:
    """The table's data files, the earliest first."""
    cold = open_cold_table(world.connections.iceberg, table.target)
    return [Path(urlparse(task.file.file_path).path) for task in cold.scan().plan_files()]


class TestNothingWrong:
    def test_a_window_whose_files_are_the_same_as_at_the_last_audit_is_not_read_again(
        self, world: World, table: TableConfig
    ) -> None:
        again = audit(world, table, run_id="again")

        assert again.is_equal
        assert {window.cold_source for window in again.windows} == {ColdSource.STORED}
        with auditor_of(world) as auditor:
            stored = auditor.store.of_run("again")
        assert [row.cold for row in stored] == [window.cold for window in again.windows]
        assert all(row.finding is Finding.EQUAL and row.table_name == table.name for row in stored)

    def test_an_empty_table_has_nothing_to_compare(self, trades: PartitionedTrades) -> None:
        assert audit(trades.world, trades.take(0)).windows == ()

    def test_rows_past_the_watermark_are_not_a_difference(self, trades: PartitionedTrades, table: TableConfig) -> None:
        trades.insert(table, ROWS, 500)

        assert audit(trades.world, table).is_equal

    def test_a_watermark_that_was_reset_back_bounds_what_is_compared(self, world: World, table: TableConfig) -> None:
        world.reset(table, Cursor(NOON + HOUR, 3_600))

        found = audit(world, table)

        assert found.is_equal
        assert rows_by_window(found) == [3_301, 300]
        world.run_well(table)
        assert rows_by_window(audit(world, table)) == [3_301, 3_600, 300]

    def test_rows_that_an_operators_watermark_skipped_are_not_missing(
        self, trades: PartitionedTrades, table: TableConfig
    ) -> None:
        trades.insert(table, ROWS, 1_200)
        trades.world.reset(table, Cursor(NOON + timedelta(seconds=ROWS + 600), ROWS + 600))
        trades.world.run_well(table)

        found = audit(trades.world, table)

        assert found.is_equal, found.differing
        # Rows on the very timestamp at which the jump began may be on either side of it.
        assert rows_by_window(found) == [3_301, 3_600, 299 + 599]

    def test_rows_that_a_ttl_removed_are_not_a_difference(self, world: World, table: TableConfig) -> None:
        seconds = int(world.hot.rows("SELECT toUnixTimestamp(now()) AS now")[0]["now"]) - int(NOON.timestamp())
        world.hot.command(
            f"ALTER TABLE {table.source} MODIFY TTL toDateTime(happened) + INTERVAL {seconds - 1_800} SECOND "
            "SETTINGS materialize_ttl_after_modify = 0"
        )
        world.hot.command(f"ALTER TABLE {table.source} DELETE WHERE id < 2000 SETTINGS mutations_sync = 2")

        found = audit(world, table)

        assert found.is_equal, found.differing
        assert found.windows[0].cold.rows < 3_301 - 2_000
        # A TTL that is longer from now on doesn't bring back what a shorter one took.
        world.hot.command(
            f"ALTER TABLE {table.source} MODIFY TTL toDateTime(happened) + INTERVAL 100 DAY "
            "SETTINGS materialize_ttl_after_modify = 0"
        )
        assert audit(world, table).is_equal

    @pytest.mark.parametrize("point", ["after-audit", "after-publish"])
    def test_a_run_that_is_still_working_is_not_a_difference(
        self, trades: PartitionedTrades, table: TableConfig, point: str
    ) -> None:
        trades.insert(table, ROWS, 2_000)

        with trades.world.paused(table, point) as job:
            found = audit(trades.world, table)
        ended = trades.world.finish(job)

        assert ended.status == 0, ended.output
        assert found.is_equal, found.differing
        assert rows_by_window(found) == [3_301, 3_600, 300]
        assert rows_by_window(audit(trades.world, table)) == [3_301, 3_600, 2_300]


class TestLate:
    def test_late_rows_are_found_and_a_repair_makes_the_tiers_equal_before_and_after_a_compaction(
        self, world: World, table: TableConfig, foreign: ForeignWriter
    ) -> None:
        insert_late(world, table, NOON, 3)
        found = audit(world, table)

        assert "lacks 3 rows that arrived late" in only(found, Finding.LATE, FIRST, Differences(missing=3))
        assert found.late_rows == 3
        assert found.loss is None
        self._repair(world, table, found)
        assert audit(world, table).is_equal

        foreign.call("rewrite_data_files", table, "options => map('rewrite-all', 'true')")
        insert_late(world, table, NOON + HOUR, 4, first_id=200_000)
        found = audit(world, table)

        only(found, Finding.LATE, SECOND, Differences(missing=4))
        self._repair(world, table, found)
        assert audit(world, table).is_equal

    def _repair(self, world: World, table: TableConfig, found: TableAudit) -> None:
        (interval,) = found.to_repair
        world.run_well(table, mode=RunMode.REPAIR, interval_start=interval.start, interval_end=interval.end)

    def test_the_command_leads_from_the_day_to_the_rows(
        self, trades: PartitionedTrades, table: TableConfig, foreign: ForeignWriter
    ) -> None:
        world, name = trades.world, foreign.name(table)
        insert_late(world, table, NOON + HOUR, 2)
        world.hot.command(f"ALTER TABLE {table.source} UPDATE price = 7 WHERE id = 3605 SETTINGS mutations_sync = 2")
        foreign.sql(f"INSERT INTO {name} SELECT * FROM {name} WHERE id = 3610")

        def audit_fields(*options: str) -> list[dict[str, object]]:
            span = ["--from", NOON.isoformat(), "--to", (NOON + 2 * HOUR).isoformat()]
            printed = trades.operate("audit", table, *span, *options, "--json", status=1)
            rows: list[dict[str, object]] = json.loads(printed)
            return rows

        (day,) = audit_fields("--by", "day")
        assert (day["finding"], day["missing"], day["changed"], day["duplicates"]) == ("surplus", 2, 1, 1)
        assert [hour["finding"] for hour in audit_fields()] == ["equal", "surplus", "equal"]
        (minute,) = audit_fields("--by", "minute")
        assert (minute["from"], minute["hot_rows"], minute["cold_rows"]) == ("2026-11-01T13:00:00+00:00", 62, 61)
        assert [(row["difference"], row["row"]) for row in audit_fields("--by", "minute", "--keys")] == [
            ("missing", "happened=2026-11-01 13:00:00.500000, id=100000"),
            ("missing", "happened=2026-11-01 13:00:01.500000, id=100001"),
            ("changed", "happened=2026-11-01 13:00:05.000000, id=3605"),
            ("duplicates", "happened=2026-11-01 13:00:10.000000, id=3610"),
        ]

    def test_values_that_were_changed_in_clickhouse_are_found(self, world: World, table: TableConfig) -> None:
        world.hot.command(f"ALTER TABLE {table.source} UPDATE price = 7 WHERE id < 5 SETTINGS mutations_sync = 2")

        found = audit(world, table)

        only(found, Finding.CHANGED, FIRST, Differences(changed=5))
        assert found.to_repair == ()


class TestLost:
    def test_a_deleted_data_file_is_named(self, world: World, table: TableConfig) -> None:
        (file,) = paths(world, table)
        file.unlink()

        found = audit(world, table)

        assert [window.finding for window in found.windows] == [Finding.LOST] * 3
        assert [window.differences.missing for window in found.windows] == [3_301, 3_600, 300]
        assert all(f"{file.name} is missing" in window.explanation for window in found.windows)
        assert found.loss is not None
        assert found.to_repair == ()

    def test_a_truncated_data_file_is_named(self, trades: PartitionedTrades, table: TableConfig) -> None:
        trades.offload(table, 600)
        old = set(paths(trades.world, table))
        trades.offload(table, 600)
        (new,) = set(paths(trades.world, table)) - old
        new.write_bytes(new.read_bytes()[:-100])

        explanation = only(audit(trades.world, table), Finding.LOST, THIRD, Differences(missing=600))

        assert f"{new.name} is broken" in explanation

    def test_a_data_file_with_invalid_content_is_named(self, trades: PartitionedTrades) -> None:
        taken = trades.take(600)
        trades.world.run_well(taken)
        (file,) = paths(trades.world, taken)
        content = file.read_bytes()
        file.write_bytes(content[:4] + bytes(len(content) - 8) + content[-4:])

        explanation = only(audit(trades.world, taken), Finding.LOST, FIRST, Differences(missing=600))

        assert f"{file.name} is broken" in explanation

    def test_a_table_that_was_rolled_back_lacks_its_newest_commit(
        self, trades: PartitionedTrades, table: TableConfig, foreign: ForeignWriter
    ) -> None:
        before = foreign.newest_snapshot(table)
        trades.offload(table, 900)
        foreign.call("rollback_to_snapshot", table, f"snapshot_id => {before}")

        explanation = only(audit(trades.world, table), Finding.LOST, THIRD, Differences(missing=900))

        assert "rolled back" in explanation

    def test_deleted_rows_are_lost_compared_with_the_last_audit(
        self, world: World, table: TableConfig, foreign: ForeignWriter
    ) -> None:
        foreign.sql(f"DELETE FROM {foreign.name(table)} WHERE id BETWEEN 10 AND 29")

        explanation = only(audit(world, table), Finding.LOST, FIRST, Differences(missing=20))

        assert "held 20 more before" in explanation

    def test_rows_deleted_before_the_first_audit_are_lost_compared_with_our_commits(
        self, trades: PartitionedTrades, foreign: ForeignWriter
    ) -> None:
        taken = trades.take(300)
        trades.world.run_well(taken)
        trades.offload(taken, 300)
        foreign.sql(f"DELETE FROM {foreign.name(taken)} WHERE id >= 590")

        explanation = only(audit(trades.world, taken), Finding.LOST, FIRST, Differences(missing=10))

        assert "the table holds 10 rows fewer than after this pipeline's newest commit" in explanation

    def test_an_accepted_loss_is_no_longer_a_loss(
        self, world: World, table: TableConfig, foreign: ForeignWriter
    ) -> None:
        foreign.sql(f"DELETE FROM {foreign.name(table)} WHERE id BETWEEN 10 AND 29")
        assert audit(world, table).finding is Finding.LOST
        assert audit(world, table).finding is Finding.LOST
        with world.ledger() as ledger:
            ledger.resume(table.name)

        only(audit(world, table), Finding.LATE, FIRST, Differences(missing=20))

    def test_a_table_without_metadata_is_lost_as_a_whole(
        self, world: World, table: TableConfig, foreign: ForeignWriter
    ) -> None:
        Path(urlparse(foreign.metadata_file(table)).path).unlink()

        found = audit(world, table)

        assert [window.finding for window in found.windows] == [Finding.LOST] * 3
        assert "metadata file" in found.windows[0].explanation

    def test_a_table_missing_from_the_catalog_is_lost_as_a_whole(
        self, world: World, table: TableConfig, foreign: ForeignWriter
    ) -> None:
        foreign.sql(f"DROP TABLE {foreign.name(table)}")

        found = audit(world, table)

        assert found.total == Differences(missing=ROWS)
        assert found.finding is Finding.LOST


class TestSurplus:
    @pytest.mark.parametrize(("hour", "surplus"), [(12, [3_301, 299]), (13, [3_301, 299])])
    def test_a_partition_that_clickhouse_lost_is_found_at_the_old_end_too(
        self, world: World, table: TableConfig, hour: int, surplus: list[int]
    ) -> None:
        world.hot.command(f"ALTER TABLE {table.source} DROP PARTITION '2026-11-01 {hour}:00:00'")

        found = audit(world, table)

        assert [window.finding for window in found.differing] == [Finding.SURPLUS] * 2
        assert [window.differences for window in found.differing] == [Differences(surplus=rows) for rows in surplus]
        assert "ClickHouse lacks and should still have" in found.differing[0].explanation

    def test_duplicates_are_distinguished_from_rows_that_clickhouse_lacks(
        self, world: World, table: TableConfig, foreign: ForeignWriter
    ) -> None:
        name = foreign.name(table)
        foreign.sql(f"INSERT INTO {name} SELECT * FROM {name} WHERE id BETWEEN 10 AND 29")

        only(audit(world, table), Finding.SURPLUS, FIRST, Differences(duplicates=20))

        foreign.sql(f"INSERT INTO {name} SELECT id + 1000000, happened, number, price FROM {name} WHERE id = 40")

        only(audit(world, table), Finding.SURPLUS, FIRST, Differences(surplus=1, duplicates=20))


class Meddler(ClickHouse):
    """A client that does something else in the middle of its first count of rows."""

    def meddle(self, work: Callable[[], None]) -> Meddler:
        self._work: Callable[[], None] | None = work
        return self

    def rows(self, query, parameters=None, settings=None):  # type: ignore[no-untyped-def]
        if "offload_hash" in query and self._work is not None:
            work, self._work = self._work, None
            work()
        return super().rows(query, parameters, settings)


class TestBesideOthers:
    def test_files_that_a_compaction_and_an_expiry_removed_meanwhile_are_not_lost(
        self, trades: PartitionedTrades, table: TableConfig, foreign: ForeignWriter
    ) -> None:
        world = trades.world
        old = paths(world, table)

        def compact() -> None:
            foreign.call("rewrite_data_files", table, "options => map('rewrite-all', 'true')")
            for path in old:
                path.unlink()

        found = audit(world, table, client=Meddler(world.connections.clickhouse).meddle(compact))

        assert not old[0].exists()
        assert found.is_equal, found.differing

    def test_late_rows_that_a_repair_inserts_meanwhile_are_not_surplus(self, world: World, table: TableConfig) -> None:
        def come_late() -> None:
            insert_late(world, table, NOON, 3)
            world.run_well(table, mode=RunMode.REPAIR, interval_start=NOON, interval_end=NOON + HOUR)

        found = audit(world, table, client=Meddler(world.connections.clickhouse).meddle(come_late))

        assert found.is_equal, found.differing
        assert found.windows[0].cold.rows == 3_301 + 3

    def test_rows_that_are_offloaded_meanwhile_are_not_a_difference(
        self, trades: PartitionedTrades, table: TableConfig
    ) -> None:
        world = trades.world
        client = Meddler(world.connections.clickhouse)

        found = audit(world, table, client=client.meddle(lambda: trades.offload(table, 100) and None))

        assert found.is_equal, found.differing

    def test_an_unreachable_server_is_an_error_and_not_a_finding(self, world: World, table: TableConfig) -> None:
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            unused_tcp_port = free.getsockname()[1]
        clickhouse = ClickHouse(world.connections.clickhouse.model_copy(update={"http_port": unused_tcp_port}))
        with pytest.raises(ClickHouseUnavailable):
            audit(world, table, client=clickhouse)

        uri = f"jdbc:postgresql://127.0.0.1:{unused_tcp_port}/offload"
        with pytest.raises(LedgerUnavailable):
            audit(_elsewhere(world, uri=uri), table)

        with pytest.raises(CatalogUnavailable, match="does not exist"):
            audit(_elsewhere(world, warehouse=f"{world.connections.iceberg.warehouse}-unmounted"), table)


def _elsewhere(world: World, **iceberg: str) -> World:
    catalog = world.connections.iceberg.model_copy(update=iceberg)
    return World(world.connections.model_copy(update={"iceberg": catalog}), world.hot, world.folder, world.settings)


class TestCandles:
    def test_candles_that_late_trades_changed_are_merged_by_a_repair_and_open_ones_are_not_compared(
        self, candles: CandleTables
    ) -> None:
        world, table = candles.world, candles.take(12)
        world.run_well(table)
        first = audit(world, table)
        assert first.is_equal
        assert rows_by_window(first) == [2] * 7

        now = datetime.now(timezone.utc)
        candles.insert(table, int((now - DAY) / HOUR), 1)
        assert audit(world, table).is_equal

        candles.insert(table, 10, 1, version=2)
        found = audit(world, table)

        only(found, Finding.CHANGED, DAY + 10 * HOUR - MICROSECOND, Differences(changed=2))
        assert found.late_rows == 2
        (interval,) = found.to_repair
        world.run_well(table, mode=RunMode.REPAIR, interval_start=interval.start, interval_end=interval.end)
        assert audit(world, table).is_equal

    def test_the_candle_of_a_market_that_arrives_late_is_late(self, candles: CandleTables) -> None:
        world, table = candles.world, candles.take(12)
        world.run_well(table)
        start = DAY + 9 * HOUR
        world.hot.command(
            f"INSERT INTO {table.source}_states VALUES ('C', '{start:%F %T}', '{start + HOUR:%F %T}', 5, 1)"
        )

        only(audit(world, table), Finding.LATE, start - MICROSECOND, Differences(missing=1))
