"""What the closing task says of a cycle, from task states and ledger rows."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest

from offload_airflow.operators.cycle_summary import Outcome, TableTasks, completed_line, outcomes
from offload_core.ledger.rows import LedgerRow, RowStatus, StepKind
from offload_core.protocol.window import ORIGIN

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
TRADES = TableTasks("trades", "bronze.wait_trades", "bronze.offload_trades")


def row(
    status: str = "success",
    rows: int = 0,
    seconds: float | None = None,
    message: str | None = None,
    kind: str = "increment",
) -> LedgerRow:
    return LedgerRow(
        id=1,
        table_name="trades",
        cursor=ORIGIN,
        status=RowStatus(status),
        kind=StepKind(kind),
        created_at=NOON,
        started_from=None,
        generation=0,
        source_uuid=None,
        window_lower=None,
        window_upper=None,
        row_count=rows,
        snapshot_id=None,
        total_records=None,
        run_id="r",
        attempt=1,
        last_successful_run=None,
        last_run_duration_seconds=seconds,
        failure_count=0,
        error_kind=None,
        last_error_message=message,
    )


def outcome(wait: str | None, offload: str | None, *rows: LedgerRow, note: str | None = None) -> Outcome:
    notes = {TRADES.wait: note} if note else {}
    (result,) = outcomes([TRADES], {TRADES.wait: wait, TRADES.offload: offload}, rows, notes)
    return result


def test_chunks_of_one_table_are_added_up() -> None:
    result = outcome("success", "success", row(rows=5, seconds=1.5), row(rows=7, seconds=2.0))
    assert (result.problem, result.rows, result.seconds) == (None, 12, 3.5)
    assert result.line() == "✓ trades: Rows offloaded: 12, 3.5 s"


def test_a_table_without_new_rows_is_a_success() -> None:
    result = outcome("skipped", "skipped", row())
    assert result.problem is None
    assert result.line() == "✓ trades: No new data to offload"


def test_a_table_whose_interval_was_compared_says_what_was_verified() -> None:
    result = outcome("skipped", "skipped", note="verified, 12,345 rows equal")
    assert result.line() == "✓ trades: verified, 12,345 rows equal"


def test_a_table_that_was_to_be_compared_only_and_differs_says_how() -> None:
    result = outcome("failed", "upstream_failed", note="trades differs")
    assert result.line() == "✗ Offload failed: trades: trades differs"


@pytest.mark.parametrize(
    ("kinds", "word"),
    [
        (["repair", "repair"], "repaired"),
        (["restate"], "restated"),
        (["repair", "increment"], "repaired and offloaded"),
        (["recovered"], "offloaded"),
    ],
)
def test_rows_that_were_mended_are_not_called_offloaded(kinds: list[str], word: str) -> None:
    result = outcome("success", "success", *(row(rows=2, seconds=0.5, kind=kind) for kind in kinds))
    assert result.line() == f"✓ trades: Rows {word}: {2 * len(kinds)}, {len(kinds) / 2:.1f} s"


def test_a_failed_table_shows_the_newest_error_of_the_ledger() -> None:
    result = outcome("success", "failed", row("failed", message="first"), row("failed", message="second"))
    assert result.line() == "✗ Offload failed: trades: second"


@pytest.mark.parametrize(
    ("wait", "offload", "where"),
    [
        ("failed", "upstream_failed", "bronze.wait_trades (failed)"),
        ("success", "failed", "bronze.offload_trades (failed)"),
        ("success", None, "bronze.offload_trades (None)"),
        ("success", "upstream_failed", "bronze.offload_trades (upstream_failed)"),
        (None, None, "bronze.wait_trades (None)"),
    ],
)
def test_a_failure_without_a_word_in_the_ledger_names_the_task(
    wait: str | None, offload: str | None, where: str
) -> None:
    assert outcome(wait, offload).problem == f"see the log of {where}"


def test_rows_that_were_published_before_a_failure_still_count() -> None:
    result = outcome("success", "failed", row(rows=5), row("failed", message="chunk 2"))
    assert (result.rows, result.problem) == (5, "chunk 2")


def test_the_completed_line_is_as_operators_search_for_it() -> None:
    results = [Outcome("a", 1200, 2.0, None), Outcome("b", 0, 0, None), Outcome("c", 0, 0, "broken")]
    line = completed_line(results, NOON, NOON + timedelta(seconds=12.4))
    assert "OFFLOAD CYCLE COMPLETED" in line
    assert re.search(r"Success: (\d+)", line)[1] == "2"  # type: ignore[index]
    assert re.search(r"Failed: [1-9]", line)
    assert re.search(r"Rows offloaded: (\d+)", line)[1] == "1200"  # type: ignore[index]
    assert re.search(r"Duration: ([\d.]+)", line)[1] == "12.4"  # type: ignore[index]
    assert line.split()[-2:] == ["12.4", "seconds"]
