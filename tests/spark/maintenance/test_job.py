"""Maintenance of the Iceberg tables: few files, few snapshots, nothing lost, and later runs work as before."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from urllib.parse import urlparse

import pytest

from offload_core.config.tables import TableConfig
from offload_core.ledger.rows import Step, StepKind
from offload_core.protocol.window import Window
from tests.support.spark.fault_tables import NOON, TradeTables
from tests.support.spark.faults import assert_exact, branches
from tests.support.spark.maintained_table import (
    cold,
    files_by_day,
    maintain,
    maintain_well,
    newest_record,
    snapshot_ids,
)
from tests.support.spark.world import World

HALF_DAY = 12 * 3600
"""In seconds past noon: midnight, and with it the next partition."""
DAYS_AGO = 2 * 86400


def offload(trades: TradeTables, table: TableConfig, *runs: tuple[int, ...]) -> None:
    """Run the offload once for each tuple, with ten new trades from each of its seconds past noon on."""
    for starts in runs:
        for start in starts:
            trades.insert(table, start, 10)
        trades.world.run_well(table)


def strict(world: World) -> World:
    """The world with settings under which every old snapshot goes at once."""
    return world.with_settings(snapshot_age_hours=0, snapshots_to_keep=1)


def test_a_closed_day_becomes_one_sorted_file_the_open_one_is_left_alone_and_runs_go_on_as_before(
    trades: TradeTables,
) -> None:
    import pyarrow.parquet as pq

    table = trades.take(0)
    offload(trades, table, (0,), (100, HALF_DAY + 600), (HALF_DAY + 700,))
    before, world = snapshot_ids(trades.world, table), strict(trades.world)

    record = maintain_well(world, table)

    done = {step.name: step.done for step in record.steps}
    assert files_by_day(world, table) == {"2026-11-01": 1, "2026-11-02": 2}
    assert (record.before.data_files, record.after.data_files, done["compaction"]) == (4, 3, 2)
    # A read of noon's hour opened both files of it.
    assert (record.before.planned_files, record.after.planned_files) == (2, 1)
    (compacted,) = [
        file["file_path"]
        for file in cold(world, table).inspect.files().to_pylist()
        if "2026-11-01" in file["file_path"]
    ]
    ids = pq.read_table(urlparse(compacted).path)["id"].to_pylist()
    assert ids == [*range(10), *range(100, 110)]
    # Of the three commits the newest stays, because the next run reads its position from it, and so do later ones.
    assert (record.before.snapshots, record.after.snapshots, done["snapshots"]) == (3, 2, 2)
    assert snapshot_ids(world, table) & before == {trades.valid_history(table)[-1].snapshot_id}
    assert cold(world, table).properties["write.parquet.row-group-size-bytes"] == str(8 * 1024 * 1024)
    assert_exact(world, table, rows=40)

    offload(trades, table, (HALF_DAY + 800,))
    assert trades.kinds(table) == ["increment"] * 4
    assert_exact(world, table, rows=50)


def test_dead_attempts_and_their_files_go_and_what_a_living_one_writes_stays(trades: TradeTables) -> None:
    world, table = strict(trades.world), trades.take(10)
    world.run_well(table)
    trades.insert(table, 10, 10)
    assert world.run_armed(table, "after-branch-commit:kill").status != 0
    old, young = (_stray(world, table, name) for name in ("old", "young"))
    os.utime(old, (time.time() - DAYS_AGO,) * 2)

    assert len(branches(cold(world, table))) == 2
    record = maintain_well(world, table)
    assert {step.name: step.done for step in record.steps}["branches"] == 1
    assert branches(cold(world, table)) == {"main"}
    assert (old.exists(), young.exists()) == (False, True)
    assert_exact(world, table, rows=10)

    with world.paused(table, "after-audit") as job:
        living = branches(cold(world, table))
        record = maintain_well(world, table)
        assert branches(cold(world, table)) == living > {"main"}
        assert {step.name: step.done for step in record.steps}["branches"] == 0
    ended = world.finish(job)
    assert ended.status == 0, ended.output
    assert_exact(world, table, rows=20)


def _stray(world: World, table: TableConfig, name: str) -> Path:
    """Create a data file that no snapshot refers to."""
    folder = world.warehouse.joinpath(*table.target.split("."), "data", "happened_day=2026-11-01")
    file = folder / f"{name}.parquet"
    file.write_bytes(b"PAR1")
    return file


@pytest.mark.full
def test_a_compaction_that_overtakes_a_run_makes_it_start_over_at_once(trades: TradeTables) -> None:
    world, table = strict(trades.world), trades.take(0)
    offload(trades, table, (0,), (100, HALF_DAY + 600))
    trades.insert(table, HALF_DAY + 700, 10)

    with world.paused(table, "after-audit") as job:
        assert maintain_well(world, table).after.data_files == 2
    ended = world.finish(job)

    assert ended.status == 0, ended.output
    assert "Starting over at once, start 2 of 3" in ended.output
    assert_exact(world, table, rows=40)


def test_a_table_that_somebody_has_to_judge_is_not_touched(trades: TradeTables) -> None:
    world, table = strict(trades.world), trades.take(10)
    world.run_well(table)
    before = cold(world, table).metadata
    with world.ledger() as ledger:
        watermark = ledger.watermark(table.name)
        window = Window(watermark.cursor, NOON.replace(hour=13))
        # A commit that Iceberg does not have; its remaining files may be the only copy of its rows.
        step = Step(StepKind.INCREMENT, watermark.cursor, 0, watermark.source_uuid, "gone", 1, window, 5, 42, 15)
        ledger.append(watermark, step)

    ended = maintain(world, table)
    assert (ended.status, ended.error["kind"]) == (20, "ledger_ahead"), ended.output

    with world.ledger() as ledger:
        ledger.record_failure(table.name, "ledger_ahead", "Rolled back.", run_id="run", attempt=1, halt=True)
    ended = maintain(world, table)
    assert (ended.status, ended.error["kind"]) == (20, "halted"), ended.output
    assert cold(world, table).metadata == before


@pytest.mark.full
def test_the_command_shows_the_table_and_what_it_would_do_before_it_does_it(trades: TradeTables) -> None:
    world, table = trades.world, trades.take(0)
    offload(trades, table, (0,), (100, HALF_DAY + 600))
    before = cold(world, table).metadata
    environ = {"OFFLOAD_TABLES": f"[{table.model_dump_json()}]"}

    output = world.offload("maintain", table.name, "--dry-run", environ=environ)
    assert "Would be compacted: 2026-11-01, 2 small files" in output
    assert cold(world, table).metadata == before

    output = world.offload("maintain", table.name, "--yes", "--json", environ=environ)
    result = json.loads(output[output.index("{") : output.index("}") + 1])
    assert (result["data_files_before"], result["data_files"]) == (3, 2)
    assert newest_record(world, table).run_id.startswith("maintain__")
