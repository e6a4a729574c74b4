"""Which partitions are compacted, in which portions, and what is kept of it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload_core.config.settings import Settings
from offload_core.config.tables import DEFAULT_TABLES, TableConfig
from offload_core.errors import RunInit
from offload_core.ledger.maintenance_log import MaintenanceLog
from offload_core.ledger.session import LedgerConnection
from offload_core.maintenance import (
    MEGABYTE,
    SMALL,
    MaintenanceStep,
    PartitionFiles,
    TableStats,
    batches,
    closed_before,
    due,
    manifests_are_due,
    manifests_wanted,
    sort_columns,
    stats_lines,
    step_lines,
)
from offload_core.protocol.partition import Partition

DAY = datetime(2026, 11, 1, tzinfo=timezone.utc)
NOW = datetime(2026, 11, 20, tzinfo=timezone.utc)
TARGET = 128 * MEGABYTE
FIGURES = TableStats(96, 10_000, 96, 0, 300, 97, 101, 12.5, 4)


def table(name: str) -> TableConfig:
    return next(table for table in DEFAULT_TABLES if table.name == name)


def files(*, day: int = 0, small: int = 96, size: int = MEGABYTE, large: int = 0, deletes: int = 0) -> PartitionFiles:
    return PartitionFiles(
        DAY + timedelta(days=day), small + large, small * size + large * TARGET, small, small * size, deletes
    )


def test_a_partition_is_closed_when_it_ended_before_the_watermark_by_more_than_runs_read_again():
    midnight = DAY + timedelta(days=1)
    assert closed_before(table("silver_trades"), Settings(), midnight, NOW) == midnight - timedelta(minutes=5)
    assert closed_before(table("gold_ohlcv_1m"), Settings(), midnight, NOW) == midnight - timedelta(minutes=120)
    late = Settings(buffer_minutes=240)
    assert closed_before(table("gold_ohlcv_1m"), late, midnight, NOW) == midnight - timedelta(minutes=240)


def test_a_watermark_from_the_future_closes_nothing_that_is_still_open():
    assert closed_before(table("silver_trades"), Settings(), NOW.replace(year=2101), NOW) < NOW


@pytest.mark.parametrize(("minutes", "is_closed"), [(-1, False), (0, True), (1, True)])
def test_the_open_partition_is_never_due(minutes: int, is_closed: bool):
    closed = DAY + timedelta(days=1, minutes=minutes)

    assert bool(due([files()], Partition.DAY, closed, TARGET)) is is_closed


@pytest.mark.parametrize(
    ("held", "pays"),
    [
        (files(small=96), True),
        (files(small=2), True),
        (files(small=1), False),
        (files(small=1, large=3), False),
        (files(small=0, large=3), False),
        # Two files of 90 MiB would become two again, tomorrow as today.
        (files(small=2, size=90 * MEGABYTE), False),
        (files(small=3, size=80 * MEGABYTE), True),
        (files(small=96, deletes=1), False),
    ],
)
def test_only_what_leaves_fewer_files_is_rewritten(held: PartitionFiles, pays: bool):
    assert bool(due([held], Partition.DAY, NOW, TARGET)) is pays


@given(st.lists(st.integers(1, int(TARGET * SMALL) - 1), max_size=40))
def test_a_compacted_partition_is_not_due_again(sizes: list[int]):
    """What comes out is full files and at most one rest."""
    rest = sum(sizes) % TARGET
    small = [rest] if 0 < rest < TARGET * SMALL else []
    held = PartitionFiles(DAY, len(small), sum(small), len(small), sum(small))

    assert due([held], Partition.DAY, NOW, TARGET) == []


def test_the_oldest_partitions_come_first():
    days = [files(day=day) for day in (3, 1, 2)]

    assert [held.start.day for held in due(days, Partition.DAY, NOW, TARGET)] == [2, 3, 4]


def test_a_backlog_is_rewritten_in_portions_and_a_large_partition_by_itself():
    small, large = files(small=10), files(small=500)

    assert list(batches([small, small, large, small], 25 * MEGABYTE)) == [[small, small], [large], [small]]
    assert list(batches([], MEGABYTE)) == []


def test_files_are_sorted_by_the_keys_and_the_time_unless_the_entry_says_otherwise():
    assert sort_columns(table("silver_trades")) == ("exchange", "symbol", "trade_id", "exchange_timestamp")
    assert sort_columns(table("gold_ohlcv_1m")) == ("exchange", "symbol", "window_start")
    chosen = table("silver_trades").model_copy(update={"sort_by": ("symbol",)})
    assert sort_columns(chosen) == ("symbol", "exchange_timestamp")


def test_the_log_shows_the_figures_beside_each_other_and_what_each_step_came_to():
    lines = stats_lines(["before", "after"], [FIGURES, FIGURES])
    assert lines[1].split() == ["data", "files", "96", "96"]
    assert step_lines([MaintenanceStep("compaction", 95, 1.25)])[1].split() == ["compaction", "95", "1.25"]


class TestTheLog:
    pytestmark = pytest.mark.integration

    def test_what_was_done_is_read_as_it_was_written_the_newest_first(self, session: LedgerConnection, pipeline: str):
        log, start = MaintenanceLog(session, pipeline), datetime.now(timezone.utc) - timedelta(minutes=1)
        after = TableStats.from_json({**FIGURES.to_json(), "data_files": 1})
        steps = (MaintenanceStep("compaction", 95, 1.5), MaintenanceStep("orphans", 0, 0.25))
        for run_id in ("first", "second"):
            log.append("trades", run_id=run_id, attempt=1, seconds=3.5, before=FIGURES, after=after, steps=steps)

        record = log.newest()["trades"]

        assert (record.run_id, record.seconds, record.before, record.after) == ("second", 3.5, FIGURES, after)
        assert record.steps == steps
        assert [found.run_id for found in log.since(start)] == ["first", "second"]
        assert log.since(datetime.now(timezone.utc) + timedelta(minutes=1)) == []
        assert MaintenanceLog(session, f"{pipeline}_other").newest() == {}

    def test_a_ledger_of_an_older_version_says_what_to_do(self, session: LedgerConnection, pipeline: str):
        with session.transaction(force_rollback=True):
            session.execute("ALTER TABLE offload_maintenance RENAME TO away")
            with pytest.raises(RunInit, match=r"offload_maintenance.*Run `offload init`"):
                MaintenanceLog(session, pipeline).newest()


@pytest.mark.parametrize(
    ("files", "partitions", "wanted"), [(0, 0, 1), (1, 1, 1), (8, 7, 4), (38, 31, 9), (365, 365, 28), (5000, 3, 3)]
)
def test_a_tables_files_are_spread_over_as_many_manifests_as_plans_are_quickest_with(files, partitions, wanted):
    assert manifests_wanted(files, partitions) == wanted


@given(files=st.integers(1, 100_000))
def test_no_other_number_of_manifests_makes_a_plan_read_less(files: int) -> None:
    def lines(manifests: int) -> float:
        return manifests + 2 * files / manifests

    wanted = manifests_wanted(files, files)
    assert lines(wanted) <= min(lines(max(1, wanted - 2)), lines(wanted + 1)) + 1


def test_manifests_are_rewritten_when_commits_have_added_many_or_few_hold_all():
    assert [manifests_are_due(count, 9) for count in (1, 2, 3, 9, 19, 20)] == [True, True, False, False, False, True]
