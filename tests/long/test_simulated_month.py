"""A month of cycles, hourly audits and daily maintenance, with late rows, expiring rows and damage from outside.

The next audit finds every damage, with table, interval and row count, and nothing else. The cold tier stays correct,
small and quick to plan.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from offload_core.config.connections import Connections
from offload_core.config.tables import TableConfig, WriteMode
from offload_core.maintenance import MORE_MANIFESTS, TableStats, manifests_wanted
from offload_core.protocol.plan import RunMode
from offload_ops.audit.compare import Differences, Finding, TableAudit
from tests.support.spark.faults import assert_exact
from tests.support.spark.simulation import CYCLE, LATEST, SNAPSHOTS, Simulation, simulation
from tests.support.spark.world import new_world

DAYS = int(os.environ.get("OFFLOAD_SIMULATED_DAYS", "30"))
HOUR = timedelta(hours=1)
CYCLES_PER_HOUR = HOUR // CYCLE
HANDFUL = 5
"""The maximum number of files of a closed partition."""
DAMAGED_TABLE = "bronze_trades_binance"

pytestmark = [pytest.mark.integration, pytest.mark.full]


@pytest.fixture(scope="module")
def month(servers: Connections, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    """The month before its first cycle."""
    with new_world(servers, tmp_path_factory.mktemp("world")) as world:
        kept = world.with_settings(
            snapshot_age_hours=0, snapshots_to_keep=SNAPSHOTS, audit_hours=LATEST // CYCLES_PER_HOUR + 2
        )
        with simulation(kept, DAYS) as month:
            yield month


def test_a_month_stays_right_small_and_quick_to_plan(month: Simulation, capsys: pytest.CaptureFixture[str]) -> None:
    stats: dict[str, list[TableStats]] = {table.name: [] for table in month.tables}
    planning: list[float] = []
    damages = iter(DAMAGES)
    for day in range(DAYS):
        for hour in range(24):
            for _ in range(CYCLES_PER_HOUR):
                month.cycle()
            audit_and_repair(month)
            if hour == 1:
                for table in month.tables:
                    stats[table.name].append(month.maintain(table))
                    files = month.files_per_closed_partition(table)
                    assert max(files.values(), default=0) <= HANDFUL, files
                planning.append(planning_seconds(month))
            if day > 0 and hour == 3:
                for damage in islice(damages, DAMAGES_A_DAY):
                    damage(month)
        month.expire()
    assert next(damages, None) is None, "the month was too short for all damages"
    for table in month.tables:
        month.run(table, RunMode.REPAIR, month.start, month.now + HOUR)
        assert_exact(month.world, table)
        assert_stays_small(stats[table.name])
    with capsys.disabled():
        print(*summary(month, stats, planning), sep="\n")


def audit_and_repair(month: Simulation) -> None:
    """Run the hourly audit: it finds exactly the late rows, and after the repair it finds nothing."""
    for table in month.tables:
        found = month.audit(table)
        if table.write_mode is WriteMode.APPEND:
            assert found.late_rows == month.late_since_audit, (found.differing, month.late_since_audit)
        assert not found.differing or month.late_since_audit, found.differing
        for window in found.differing:
            late = Differences(missing=window.differences.missing, changed=window.differences.changed)
            assert window.differences == late, window
            assert table.write_mode is WriteMode.UPSERT or not late.changed, window
        repair(month, table, found)
    month.late_since_audit = 0


def repair(month: Simulation, table: TableConfig, found: TableAudit) -> None:
    """Repair what an audit found, as the audit's DAG does."""
    if found.to_repair:
        month.run(table, RunMode.REPAIR, found.to_repair[0].start, found.to_repair[-1].end)
        again = month.audit(table)
        assert again.is_equal, again.differing


def only(found: TableAudit, finding: Finding, differences: Differences) -> str:
    """Check that an audit found this and nothing else, and names its place; returns the explanations."""
    assert found.finding is finding, found.differing
    assert found.total == differences, found.differing
    for window in found.differing:
        named = f"{found.table.name} from {window.window.start:%F %T} to {window.window.end:%F %T}"
        assert window.explanation.startswith(named), window.explanation
    return " ".join(window.explanation for window in found.differing)


def late_rows_of_an_open_partition(month: Simulation) -> None:
    """Late rows whose day has not been compacted."""
    late_rows(month, timedelta(hours=3))


def late_rows_of_a_compacted_partition(month: Simulation) -> None:
    """Late rows whose day has been compacted."""
    table = month.world.table(DAMAGED_TABLE)
    for compacted in month.tables:
        month.maintain(compacted)
    age = timedelta(hours=month.now.hour) + HOUR
    assert f"{month.now - age:%F}" in {f"{day:%F}" for day in month.files_per_closed_partition(table)}
    late_rows(month, age)


def late_rows(month: Simulation, age: timedelta) -> None:
    month.insert_late(age, 7)
    for name in (DAMAGED_TABLE, "silver_trades"):
        table = month.world.table(name)
        found = month.audit(table)
        only(found, Finding.LATE, Differences(missing=7))
        repair(month, table, found)
    candles = month.world.table("gold_ohlcv_15m")
    repair(month, candles, month.audit(candles))
    month.late_since_audit = 0


def a_deleted_file(month: Simulation) -> None:
    """A data file vanishes and is restored."""
    table = month.world.table(DAMAGED_TABLE)
    newest = max(
        month.cold(table).inspect.files().to_pylist(),
        key=lambda file: file["readable_metrics"][table.timestamp_col]["upper_bound"],
    )
    path = Path(unquote(urlparse(newest["file_path"]).path))
    aside = path.with_name("aside")
    path.rename(aside)
    explained = only(month.audit(table), Finding.LOST, Differences(missing=int(newest["record_count"])))
    assert f"{path.name} is missing" in explained
    aside.rename(path)
    assert month.audit(table).is_equal


def a_rolled_back_table(month: Simulation) -> None:
    """Another user rolls the table back to an older snapshot and forward again."""
    table = month.world.table(DAMAGED_TABLE)
    newest = month.cold(table).current_snapshot()
    assert newest is not None
    assert newest.summary is not None
    catalog = month.world.connections.iceberg.name
    procedure = f"CALL {catalog}.system.set_current_snapshot(table => '{month.sql_name(table)}', snapshot_id => "
    month.sql(f"{procedure}{newest.parent_snapshot_id})")
    rows = int(newest.summary.additional_properties["added-records"])
    assert "rolled back" in only(month.audit(table), Finding.LOST, Differences(missing=rows))
    month.sql(f"{procedure}{newest.snapshot_id})")
    assert month.audit(table).is_equal


def a_dropped_partition(month: Simulation) -> None:
    """A day is detached from ClickHouse and attached again."""
    table = month.world.table(DAMAGED_TABLE)
    hot = month.world.hot
    before = month.audit(table)
    day = f"{month.now - CYCLE:%F}"
    rows = sum(window.hot.rows for window in before.windows)
    hot.command(f"ALTER TABLE {table.source} DETACH PARTITION '{day}'")
    (left,) = hot.rows(
        f"SELECT count() AS rows FROM {table.source} "
        f"WHERE exchange_timestamp > '{before.windows[0].compared.start:%F %T}'"
    )
    assert "ClickHouse" in only(month.audit(table), Finding.SURPLUS, Differences(surplus=rows - int(left["rows"])))
    hot.command(f"ALTER TABLE {table.source} ATTACH PARTITION '{day}'")
    assert month.audit(table).is_equal


def foreign_duplicates(month: Simulation) -> None:
    """Another user inserts rows again; the operator restates the interval."""
    table = month.world.table(DAMAGED_TABLE)
    name, begin = month.sql_name(table), month.now - 2 * HOUR
    column = table.timestamp_col
    some = f"SELECT * FROM {name} WHERE {column} > TIMESTAMP '{begin:%F %T}Z' ORDER BY {column} LIMIT 5"
    month.sql(f"INSERT INTO {name} {some}")
    only(month.audit(table), Finding.SURPLUS, Differences(duplicates=5))
    month.run(table, RunMode.RESTATE, begin - HOUR, month.now)
    assert month.audit(table).is_equal


DAMAGES: tuple[Callable[[Simulation], None], ...] = (
    late_rows_of_an_open_partition,
    late_rows_of_a_compacted_partition,
    a_deleted_file,
    a_rolled_back_table,
    a_dropped_partition,
    foreign_duplicates,
)
DAMAGES_A_DAY = math.ceil(len(DAMAGES) / max(DAYS - 1, 1))


def assert_stays_small(stats: list[TableStats]) -> None:
    """Check that after a week nothing grows but the data itself."""
    week, last = stats[: len(stats) // 4 + 1][-1], stats[-1]
    assert last.snapshots <= SNAPSHOTS + 1
    assert last.metadata_files <= max(week.metadata_files, 101)
    assert last.manifests <= manifests_wanted(last.data_files, last.data_files) + MORE_MANIFESTS
    assert last.planned_files <= week.planned_files + 1
    assert last.delete_files == 0


def planning_seconds(month: Simulation) -> float:
    """How long pyiceberg plans a typical read, an hour of recent trades: the median of nine, in CPU seconds."""
    from pyiceberg.expressions import And, GreaterThanOrEqual, LessThan

    table = month.world.table(DAMAGED_TABLE)
    cold, end = month.cold(table), month.now - timedelta(hours=6)
    column = table.timestamp_col
    hour = And(GreaterThanOrEqual(column, (end - HOUR).isoformat()), LessThan(column, end.isoformat()))  # type: ignore[call-arg,arg-type]
    taken = []
    for _ in range(9):
        started = time.process_time()
        list(cold.scan(row_filter=hour).plan_files())
        taken.append(time.process_time() - started)
    return statistics.median(taken)


def summary(month: Simulation, stats: dict[str, list[TableStats]], planning: list[float]) -> Iterator[str]:
    """The month in numbers."""
    yield f"{month.trades} trades, {month.arrived_late} of them late, {DAYS} days"
    for name, days in stats.items():
        yield f"{name} first: {days[0]}"
        yield f"{name} last:  {days[-1]}"
    week = statistics.median(planning[:7])
    last = planning[-1]
    yield f"planning: first week {week * 1000:.1f} ms, last day {last * 1000:.1f} ms, ratio {last / week:.2f}"
