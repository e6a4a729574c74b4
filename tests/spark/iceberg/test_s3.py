"""The same job with its tables in S3: files, commits, audits and upkeep over HTTP, and keys that show nowhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from offload_core.config.tables import TableConfig
from offload_core.protocol.window import Interval
from offload_ops.tiers.cold_table import cold_rows
from tests.spark.job.test_candles import DAY, FINALIZED, volumes
from tests.spark.job.test_candles import insert as insert_candles
from tests.spark.job.test_increment import NOON, TRADES, insert
from tests.support.ledger.audits import audit
from tests.support.spark.maintained_table import cold, files_by_day, maintain_well
from tests.support.spark.world import World
from tests.support.stack.s3_server import BUCKET, S3Server, s3_server

KEY, SECRET = "THE-ACCESS-KEY-OF-THE-TEST", "the-secret-key-of-the-test"
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def far(world: World, s3: S3Server) -> World:
    """A world whose warehouse is in S3; what it says of S3 stands in the Iceberg connection and nowhere else."""
    iceberg = world.connections.iceberg.model_copy(
        update={
            "warehouse": f"s3://{BUCKET}/{world.connections.postgres.database}",
            "properties": s3.properties(KEY, SECRET),
        }
    )
    return replace(world, connections=world.connections.model_copy(update={"iceberg": iceberg}))


def trades(world: World) -> None:
    """Make a small, empty table."""
    world.hot.command(
        "CREATE TABLE trades (id UInt32, happened DateTime64(6, 'UTC'), number UInt64, price Decimal(38, 8)) "
        "ENGINE = MergeTree ORDER BY (happened, number)"
    )
    world.init(TRADES)


def listed(table: TableConfig) -> dict[str, str]:
    """What tells the command of a table."""
    return {"OFFLOAD_TABLES": json.dumps([table.model_dump(mode="json")])}


def of(world: World, s3: S3Server) -> set[str]:
    """The objects of a world's warehouse."""
    prefix = world.connections.iceberg.warehouse.removeprefix(f"s3://{BUCKET}/")
    return {key for key in s3.objects() if key.startswith(prefix)}


def test_new_rows_reach_a_warehouse_in_s3_and_its_keys_show_nowhere(far: World, s3: S3Server) -> None:
    trades(far)
    insert(far, 1, (NOON, 1), (NOON + timedelta(seconds=1), 2))

    with far.paused(TRADES, "after-files") as job:
        tree = [psutil.Process(job.pid), *psutil.Process(job.pid).children(recursive=True)]
        running = [process for process in tree if process.status() != psutil.STATUS_ZOMBIE]
        lines = " ".join(" ".join(process.cmdline()) for process in running)
    result = far.finish(job)

    assert result.status == 0, result.output
    assert "offload_generic.py" in lines
    assert KEY not in lines + result.output
    assert SECRET not in lines + result.output
    far.require_equal(TRADES, rows=2)
    assert any(key.endswith(".parquet") for key in of(far, s3))
    assert not list(far.folder.rglob("*.parquet"))


def test_without_its_client_the_job_says_what_to_install(far: World) -> None:
    far.hot.command("CREATE TABLE trades (id UInt32, happened DateTime64(6, 'UTC'), number UInt64) ENGINE = Memory")

    said = far.offload("init", environ={**listed(TRADES), "OFFLOAD_SPARK_S3_JARS": ""}, status=2)

    assert "iceberg-aws-bundle" in " ".join(said.split())


def test_a_key_that_is_refused_is_to_be_corrected_in_the_connection(far: World) -> None:
    far.hot.command("CREATE TABLE trades (id UInt32, happened DateTime64(6, 'UTC'), number UInt64) ENGINE = Memory")
    with s3_server(strict=True) as strict:
        iceberg = far.connections.iceberg.model_copy(update={"properties": strict.properties(KEY, SECRET)})
        refused = replace(far, connections=far.connections.model_copy(update={"iceberg": iceberg}))

        said = refused.offload("init", environ=listed(TRADES), status=2)

    assert "refused the key" in " ".join(said.split())
    assert SECRET not in said


@pytest.mark.full
def test_candles_are_replaced_and_merged_in_s3_and_spark_shows_no_key(far: World) -> None:
    far.hot.command(
        "CREATE TABLE candles (symbol String, window_start DateTime('UTC'), window_end DateTime('UTC'), "
        "volume Decimal(38, 8), version UInt8) ENGINE = ReplacingMergeTree(version) ORDER BY (symbol, window_start)"
    )
    far.hot.command("CREATE VIEW finalized AS SELECT * EXCEPT version FROM candles FINAL")
    insert_candles(far, DAY, hours=24)
    far.init(FINALIZED)
    far.run_well(FINALIZED, interval_end=DAY + timedelta(hours=6))
    insert_candles(far, DAY + timedelta(hours=4), hours=1, volume="9", version=2)
    far.run_well(FINALIZED, interval_end=DAY + timedelta(hours=8))
    assert volumes(far)["A", DAY + timedelta(hours=4)] == "9"

    # Candles that ClickHouse no longer has make it a MERGE, in a SparkSession.
    far.hot.command(
        f"ALTER TABLE candles DELETE WHERE window_start < '{DAY + timedelta(hours=3):%Y-%m-%d %H:%M:%S}' SETTINGS mutations_sync = 2"
    )
    merged = far.run_well(FINALIZED, interval_end=DAY + timedelta(hours=12))
    assert "merging by key" in merged.output

    script = str(Path(__file__).with_name("show_settings.py"))
    result = far.finish(far.submit(script, [FINALIZED.target]))
    assert result.status == 0, result.output
    shown = result.answer
    assert shown["rows"] == len(volumes(far))
    assert "spark.redaction.regex" in shown["shown"]
    assert KEY not in result.output
    assert SECRET not in result.output


@pytest.mark.full
def test_lost_rows_are_found_and_brought_back_and_orphans_go_in_s3(far: World, s3: S3Server) -> None:
    trades(far)
    insert(far, 1, (NOON, 1), (NOON + timedelta(seconds=1), 2))
    far.run_well(TRADES)
    insert(far, 3, (NOON + 24 * HOUR, 3))
    far.run_well(TRADES)
    # A late row, behind the watermark.
    insert(far, 4, (NOON + timedelta(milliseconds=500), 0))
    around = Interval(NOON - HOUR, NOON + HOUR)
    found = audit(far, TRADES, around)
    assert [window.differences.missing for window in found.windows if window.differences] == [1]
    assert not any(window.unreadable for window in found.windows)
    span = ["--from", (NOON - HOUR).isoformat(), "--to", (NOON + HOUR).isoformat()]
    far.offload("verify", "trades", *span, environ=listed(TRADES), status=1)
    far.offload("repair", "trades", *span, "--yes", environ=listed(TRADES))
    far.offload("verify", "trades", *span, environ=listed(TRADES))
    assert audit(far, TRADES, around).is_equal
    far.require_equal(TRADES, rows=4)

    data = cold(far, TRADES).location().removeprefix(f"s3://{BUCKET}/") + "/data"
    old, young = f"{data}/old.parquet", f"{data}/young.parquet"
    for orphan in (old, young):
        s3.put(orphan, b"PAR1")
    s3.age(old, hours=24 * 30)
    assert files_by_day(far, TRADES) == {"2026-11-01": 2, "2026-11-02": 1}
    record = maintain_well(far.with_settings(snapshot_age_hours=0, snapshots_to_keep=1), TRADES)

    done = {step.name: step.done for step in record.steps}
    assert (record.after.data_files, done["compaction"] > 1, done["snapshots"] > 0, done["orphans"]) == (
        2,
        True,
        True,
        1,
    )
    assert old not in of(far, s3)
    assert young in of(far, s3)
    far.require_equal(TRADES, rows=4)
    insert(far, 5, (NOON + 25 * HOUR, 4))
    far.run_well(TRADES)
    assert cold_rows(far.connections.iceberg, TRADES.target) == 5
