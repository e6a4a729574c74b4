"""The job with its tables in S3: files, commits, audits and maintenance over HTTP, and keys that show nowhere."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import psutil
import pytest

from offload_core.config.tables import TableConfig
from offload_core.protocol.window import Interval
from offload_ops.tiers.cold_table import cold_rows
from tests.support.checkout import CHECKOUT
from tests.support.ledger.audits import audit
from tests.support.spark.candles import (
    DAY,
    FINALIZED,
    create_candles,
    delete_candles_before,
    insert_candles,
    volumes,
)
from tests.support.spark.maintained_table import cold, files_by_day, maintain_well
from tests.support.spark.s3_world import KEY, SECRET, warehouse_objects
from tests.support.spark.trades import HOUR, NOON, TRADES, create_trades, insert_trades
from tests.support.spark.world import World
from tests.support.stack.s3_server import BUCKET, S3Server, s3_server


def listed(table: TableConfig) -> dict[str, str]:
    """The environment in which the command `offload` knows a table."""
    return {"OFFLOAD_TABLES": json.dumps([table.model_dump(mode="json")])}


def test_new_rows_reach_a_warehouse_in_s3_and_its_keys_show_nowhere(s3_world: World, s3: S3Server) -> None:
    create_trades(s3_world)
    insert_trades(s3_world, 1, (NOON, 1), (NOON + timedelta(seconds=1), 2))

    with s3_world.paused(TRADES, "after-files") as job:
        tree = [psutil.Process(job.pid), *psutil.Process(job.pid).children(recursive=True)]
        running = [process for process in tree if process.status() != psutil.STATUS_ZOMBIE]
        lines = " ".join(" ".join(process.cmdline()) for process in running)
    result = s3_world.finish(job)

    assert result.status == 0, result.output
    assert "offload_generic.py" in lines
    assert KEY not in lines + result.output
    assert SECRET not in lines + result.output
    s3_world.require_equal(TRADES, rows=2)
    assert any(key.endswith(".parquet") for key in warehouse_objects(s3_world, s3))
    assert not list(s3_world.folder.rglob("*.parquet"))


def test_without_its_client_the_job_says_what_to_install(s3_world: World) -> None:
    s3_world.hot.command(
        "CREATE TABLE trades (id UInt32, happened DateTime64(6, 'UTC'), number UInt64) ENGINE = Memory"
    )

    output = s3_world.offload("init", environ={**listed(TRADES), "OFFLOAD_SPARK_S3_JARS": ""}, status=2)

    assert "iceberg-aws-bundle" in " ".join(output.split())


def test_a_key_that_is_refused_is_to_be_corrected_in_the_connection(s3_world: World) -> None:
    s3_world.hot.command(
        "CREATE TABLE trades (id UInt32, happened DateTime64(6, 'UTC'), number UInt64) ENGINE = Memory"
    )
    with s3_server(strict=True) as strict:
        iceberg = s3_world.connections.iceberg.model_copy(update={"properties": strict.properties(KEY, SECRET)})
        refused = replace(s3_world, connections=s3_world.connections.model_copy(update={"iceberg": iceberg}))

        output = refused.offload("init", environ=listed(TRADES), status=2)

    assert "refused the key" in " ".join(output.split())
    assert SECRET not in output


@pytest.mark.full
def test_candles_are_replaced_and_merged_in_s3_and_spark_shows_no_key(s3_world: World) -> None:
    create_candles(s3_world)
    s3_world.run_well(FINALIZED, interval_end=DAY + timedelta(hours=6))
    insert_candles(s3_world, DAY + timedelta(hours=4), hours=1, volume="9", version=2)
    s3_world.run_well(FINALIZED, interval_end=DAY + timedelta(hours=8))
    assert volumes(s3_world)["A", DAY + timedelta(hours=4)] == "9"

    # Candles that ClickHouse no longer has make it a MERGE, in a SparkSession.
    delete_candles_before(s3_world, DAY + timedelta(hours=3))
    merged = s3_world.run_well(FINALIZED, interval_end=DAY + timedelta(hours=12))
    assert "merging by key" in merged.output

    script = str(CHECKOUT / "tests" / "support" / "spark" / "show_settings.py")
    result = s3_world.finish(s3_world.submit(script, [FINALIZED.target]))
    assert result.status == 0, result.output
    shown = result.answer
    assert shown["rows"] == len(volumes(s3_world))
    assert "spark.redaction.regex" in shown["shown"]
    assert KEY not in result.output
    assert SECRET not in result.output


@pytest.mark.full
def test_lost_rows_are_found_and_brought_back_and_orphans_go_in_s3(s3_world: World, s3: S3Server) -> None:
    create_trades(s3_world)
    insert_trades(s3_world, 1, (NOON, 1), (NOON + timedelta(seconds=1), 2))
    s3_world.run_well(TRADES)
    insert_trades(s3_world, 3, (NOON + 24 * HOUR, 3))
    s3_world.run_well(TRADES)
    # A late row, behind the watermark.
    insert_trades(s3_world, 4, (NOON + timedelta(milliseconds=500), 0))
    first_day = Interval(NOON - HOUR, NOON + HOUR)
    found = audit(s3_world, TRADES, first_day)
    assert [window.differences.missing for window in found.windows if window.differences] == [1]
    assert not any(window.unreadable for window in found.windows)
    span = ["--from", (NOON - HOUR).isoformat(), "--to", (NOON + HOUR).isoformat()]
    s3_world.offload("verify", "trades", *span, environ=listed(TRADES), status=1)
    s3_world.offload("repair", "trades", *span, "--yes", environ=listed(TRADES))
    s3_world.offload("verify", "trades", *span, environ=listed(TRADES))
    assert audit(s3_world, TRADES, first_day).is_equal
    s3_world.require_equal(TRADES, rows=4)

    data = cold(s3_world, TRADES).location().removeprefix(f"s3://{BUCKET}/") + "/data"
    old, young = f"{data}/old.parquet", f"{data}/young.parquet"
    for orphan in (old, young):
        s3.put(orphan, b"PAR1")
    s3.age(old, hours=24 * 30)
    assert files_by_day(s3_world, TRADES) == {"2026-11-01": 2, "2026-11-02": 1}
    record = maintain_well(s3_world.with_settings(snapshot_age_hours=0, snapshots_to_keep=1), TRADES)

    done = {step.name: step.done for step in record.steps}
    assert (record.after.data_files, done["compaction"] > 1, done["snapshots"] > 0, done["orphans"]) == (
        2,
        True,
        True,
        1,
    )
    assert old not in warehouse_objects(s3_world, s3)
    assert young in warehouse_objects(s3_world, s3)
    s3_world.require_equal(TRADES, rows=4)
    insert_trades(s3_world, 5, (NOON + 25 * HOUR, 4))
    s3_world.run_well(TRADES)
    assert cold_rows(s3_world.connections.iceberg, TRADES.target) == 5
