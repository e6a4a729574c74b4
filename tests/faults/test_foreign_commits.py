"""Others commit to the Iceberg tables between and during runs: the offload stays exact, or says what to do."""

from __future__ import annotations

import pytest

from tests.support.spark.faults import assert_exact, visible_rows
from tests.support.spark.foreign_writer import ForeignWriter
from tests.support.spark.operated_table import OperatedTrades


def test_rows_that_others_append_are_kept_and_not_taken_for_loss(
    shared: OperatedTrades, foreign: ForeignWriter
) -> None:
    table = shared.take(0)
    shared.offload(table, 10)
    foreign.append_history(table, 7)
    shared.offload(table, 5)
    assert_exact(shared.world, table, rows=15)
    assert shared.valid_history(table)[-1].total_records == 22


@pytest.mark.full
def test_rows_that_others_append_before_the_first_run_are_kept(shared: OperatedTrades, foreign: ForeignWriter) -> None:
    table = shared.take(0)
    foreign.append_history(table, 7)
    shared.offload(table, 10)
    assert_exact(shared.world, table, rows=10)
    assert shared.valid_history(table)[-1].total_records == 17


def test_compaction_manifest_rewrite_and_snapshot_expiry_between_runs_change_nothing(
    shared: OperatedTrades, foreign: ForeignWriter
) -> None:
    table = shared.take(0)
    for _ in range(3):
        shared.offload(table, 5)
    rewritten = foreign.call("rewrite_data_files", table, "options => map('min-input-files', '2')")
    assert rewritten[0]["rewritten_data_files_count"] == 3
    shared.offload(table, 5)
    foreign.call("rewrite_manifests", table)
    shared.offload(table, 5)
    expired = foreign.call("expire_snapshots", table, "older_than => TIMESTAMP '2999-01-01', retain_last => 1")
    assert expired[0]["deleted_data_files_count"] == 3
    shared.offload(table, 5)
    assert_exact(shared.world, table, rows=30)


@pytest.mark.full
def test_a_compaction_while_nothing_is_new_changes_nothing(shared: OperatedTrades, foreign: ForeignWriter) -> None:
    table = shared.take(0)
    for _ in range(2):
        shared.offload(table, 5)
    foreign.call("rewrite_data_files", table, "options => map('min-input-files', '2')")
    shared.world.run_well(table)
    assert shared.valid_history(table)[-1].kind == "empty"
    assert_exact(shared.world, table, rows=10)


def test_a_foreign_commit_between_audit_and_publish_makes_the_run_start_over_at_once(
    shared: OperatedTrades, foreign: ForeignWriter
) -> None:
    table = shared.take(10)
    with shared.world.paused(table, "after-audit") as job:
        foreign.append_history(table, 7)
    ended = shared.world.finish(job)
    assert ended.status == 0, ended.output
    assert "Starting over at once, start 2 of 3" in ended.output
    assert [row.kind for row in shared.valid_history(table)] == ["init", "increment"]
    assert visible_rows(shared.world, table) == 17
    assert_exact(shared.world, table, rows=10)


def test_a_marker_that_others_have_expired_behind_their_own_commit_halts_the_table_until_somebody_has_compared(
    shared: OperatedTrades, foreign: ForeignWriter
) -> None:
    table = shared.take(0)
    for _ in range(2):
        shared.offload(table, 5)
    foreign.call("rewrite_data_files", table, "options => map('min-input-files', '2')")
    foreign.call("expire_snapshots", table, "older_than => TIMESTAMP '2999-01-01', retain_last => 1")
    shared.insert(table, 10, 5)
    ended = shared.world.run(table)
    assert (ended.status, ended.error["kind"]) == (20, "ledger_ahead"), ended.output
    assert "expired past our newest commit" in str(ended.error["message"])
    assert "equal" in shared.operate("verify", table)
    shared.operate("resume", table, "--yes")
    shared.world.run_well(table)
    assert_exact(shared.world, table, rows=15)


@pytest.mark.full
def test_a_snapshot_whose_marker_is_unreadable_stops_the_table_until_somebody_resumes_it(
    shared: OperatedTrades, foreign: ForeignWriter
) -> None:
    table = shared.take(0)
    shared.offload(table, 5)
    setting = "spark.sql.iceberg.snapshot-property.offload.pipeline"
    foreign.sql(f"SET `{setting}`=`{shared.world.settings.pipeline_id}`")
    foreign.append_history(table, 3)
    foreign.sql(f"RESET `{setting}`")
    shared.insert(table, 5, 5)
    ended = shared.world.run(table)
    assert (ended.status, ended.error["kind"]) == (20, "watermark_corrupt"), ended.output
    assert f"`offload resume {table.name}`" in str(ended.error["message"])
    shared.operate("resume", table, "--yes")
    shared.world.run_well(table)
    assert_exact(shared.world, table, rows=10)
