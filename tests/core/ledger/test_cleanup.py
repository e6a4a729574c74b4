"""The clean-up of the ledger takes old rows and never one that anything still looks up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from offload_core.errors import StartOver, TableHalted, WatermarkNotFound
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.rows import LedgerRow, Step, StepKind
from offload_core.ledger.session import LedgerConnection
from offload_core.protocol.window import Cursor, Window

pytestmark = pytest.mark.integration

T0 = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
NEXT_YEAR = datetime(2027, 11, 1, tzinfo=timezone.utc)
"""Before this, every row is old."""


def offload(ledger: Ledger, minute: int, kind: str = "increment", snapshot: int | None = None) -> LedgerRow:
    """Record a step up to a minute past noon; `empty` leaves the watermark."""
    last = ledger.watermark("trades")
    cursor = last.cursor if kind in ("empty", "repair") else Cursor(T0 + minute * MINUTE, minute)
    window = Window(last.cursor, T0 + minute * MINUTE)
    return ledger.append(last, Step(kind, cursor, 0, None, "run", 1, window, 5, snapshot, snapshot))


def state(ledger: Ledger) -> dict[str, object]:
    """All that a run, a sensor, an alert or a command ever asks the ledger."""
    answers: dict[str, object] = {}
    try:
        watermark = ledger.watermark("trades")
        answers["progress"] = ledger.progress("trades", watermark)
    except (TableHalted, WatermarkNotFound) as error:
        watermark = None
        answers["stopped"] = str(error)
    with ledger._connection.transaction(force_rollback=True):
        next_row = ledger.reset("trades", Cursor(T0))
    return answers | {
        "next_row": (next_row.last_successful_run, next_row.generation, next_row.source_uuid),
        "watermark": watermark,
        "cursor": ledger.cursor("trades"),
        "last_commit": ledger.last_commit("trades"),
        "operator_row": ledger.operator_row("trades"),
        "read_until": ledger.read_until("trades"),
        "newest": ledger.newest("trades"),
        "newest_rows": ledger.newest_rows(),
        "halts": ledger.halts(),
    }


def idle(ledger: Ledger) -> None:
    offload(ledger, 1, snapshot=11)
    offload(ledger, 2, snapshot=12)


def empty_windows(ledger: Ledger) -> None:
    offload(ledger, 1, snapshot=11)
    for minute in range(2, 9):
        offload(ledger, minute, "empty")


def failing(ledger: Ledger) -> None:
    offload(ledger, 1, snapshot=11)
    for attempt in range(5):
        ledger.record_failure("trades", "other", "broken", run_id="run", attempt=attempt)


def halted(ledger: Ledger) -> None:
    failing(ledger)
    ledger.record_failure("trades", "cold_rows_lost", "lost", run_id="run", attempt=1, halt=True)
    ledger.record_failure("trades", "other", "broken again", run_id="run", attempt=2)
    ledger.record_failure("trades", "other", "and again", run_id="run", attempt=3)


def reset(ledger: Ledger) -> None:
    offload(ledger, 1, snapshot=11)
    offload(ledger, 9, snapshot=12)
    ledger.reset("trades", Cursor(T0))
    offload(ledger, 7, "empty")
    offload(ledger, 5, snapshot=13)


def never_succeeded(ledger: Ledger) -> None:
    for attempt in range(3):
        ledger.record_failure("trades", "other", "broken", run_id="run", attempt=attempt)


def stepped_back(ledger: Ledger) -> None:
    offload(ledger, 20, "empty")
    offload(ledger, 10)
    ledger.record_failure("trades", "cold_rows_lost", "lost", run_id="run", attempt=1, halt=True)


def resumed(ledger: Ledger) -> None:
    halted(ledger)
    ledger.resume("trades")
    offload(ledger, 20, "empty")
    ledger.reset("trades", Cursor(T0 + 5 * MINUTE))
    offload(ledger, 6, "empty")
    offload(ledger, 7, "empty")


def reworked(ledger: Ledger) -> None:
    offload(ledger, 9, snapshot=11)
    offload(ledger, 12, "empty")
    offload(ledger, 2, "repair", snapshot=12)
    offload(ledger, 3, "repair", snapshot=13)


def typed_by_hand(ledger: Ledger) -> None:
    offload(ledger, 9, snapshot=11)
    offload(ledger, 5, "empty")
    ledger._connection.execute(
        "INSERT INTO offload_watermarks (pipeline_id, table_name, max_timestamp, status) VALUES (%s, 'trades', %s, "
        "'initialized')",
        (ledger._pipeline, T0),
    )


HISTORIES = [
    idle,
    empty_windows,
    never_succeeded,
    failing,
    halted,
    stepped_back,
    reset,
    resumed,
    reworked,
    typed_by_hand,
]


@pytest.mark.parametrize("history", HISTORIES)
def test_whatever_is_asked_of_the_ledger_is_answered_alike_after_everything_old_is_gone(
    ledger: Ledger, history: Callable[[Ledger], None]
) -> None:
    ledger.initialize("trades")
    history(ledger)
    for minute in range(3):
        ledger.record_failure("another", "other", "x", run_id="run", attempt=minute)
    before, rows = state(ledger), len(ledger.history("trades", 1000))

    deleted = ledger.clean_up(NEXT_YEAR)

    assert state(ledger) == before
    assert len(ledger.history("trades", 1000)) == rows - deleted
    assert ledger.clean_up(NEXT_YEAR) == 0


def test_most_of_a_long_history_goes(ledger: Ledger) -> None:
    ledger.initialize("trades")
    for minute in range(1, 50):
        offload(ledger, minute, snapshot=minute)

    assert ledger.clean_up(NEXT_YEAR) == 48
    assert [row.kind for row in ledger.history("trades")] == ["increment", "init"]


def test_rows_within_the_retention_stay(ledger: Ledger) -> None:
    ledger.initialize("trades")
    for minute in range(1, 5):
        offload(ledger, minute, snapshot=minute)

    assert ledger.clean_up(datetime.now(timezone.utc) - timedelta(days=7)) == 0
    assert len(ledger.history("trades")) == 5


def test_another_pipelines_rows_are_left_alone(ledger: Ledger, session: LedgerConnection, pipeline: str) -> None:
    other = Ledger(session, f"{pipeline}_other")
    for owner in (ledger, other):
        owner.initialize("trades")
        empty_windows(owner)

    assert ledger.clean_up(NEXT_YEAR) > 0
    assert len(other.history("trades", 1000)) == 9


def test_a_table_that_never_moved_keeps_its_first_watermark(ledger: Ledger) -> None:
    ledger.initialize("trades")

    assert ledger.clean_up(NEXT_YEAR) == 0
    assert ledger.watermark("trades").kind == "init"


def test_a_run_that_started_before_the_clean_up_records_its_step_after_it(ledger: Ledger) -> None:
    ledger.initialize("trades")
    empty_windows(ledger)
    started_from, stale = ledger.watermark("trades"), ledger.history("trades", 1000)[3]

    ledger.clean_up(NEXT_YEAR)

    step = Step(StepKind.INCREMENT, Cursor(T0 + 30 * MINUTE, 30), 0, None, "run", 1, None, 5, 30, 30)
    with pytest.raises(StartOver):
        ledger.append(stale, step)
    assert ledger.append(started_from, step).cursor == step.cursor
