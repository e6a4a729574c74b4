"""The state of a table, read from a real ledger."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from offload_core.config.lag import LagLevel, LagMinutes
from offload_core.config.tables import DEFAULT_TABLES, InvalidTable, Layer
from offload_core.errors import ClickHouseUnavailable, OffloadError, SourceReplaced, may_pass
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.rows import Step, StepKind
from offload_core.protocol.window import Cursor
from offload_ops.table_state import Condition, Issue, TableState, read_states

TABLE = DEFAULT_TABLES[0]
NAME = TABLE.name
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
STEP = Step(StepKind.INCREMENT, Cursor(NOON, 7), generation=0, source_uuid=None, run_id="r", attempt=1, rows=3)


def offloaded(ledger: Ledger) -> datetime:
    ledger.initialize(NAME)
    row = ledger.append(ledger.watermark(NAME), STEP)
    assert row.last_successful_run is not None
    return row.last_successful_run


def state(ledger: Ledger, now: datetime | None = None, *, enabled: bool = True) -> TableState:
    table = TABLE.model_copy(update={"enabled": enabled})
    (found,) = read_states(ledger, [table], LagMinutes(), now or datetime.now(timezone.utc))
    return found


@pytest.mark.integration
class TestReadStates:
    def test_an_offloaded_table_is_as_late_as_its_last_success_is_old_however_old_its_rows_are(self, ledger: Ledger):
        success = offloaded(ledger)

        found = state(ledger, success + timedelta(minutes=25))

        assert (found.condition, found.lag, found.level) == (
            Condition.OK,
            timedelta(minutes=25),
            LagLevel.WARNING,
        )
        assert (found.cursor, found.last_success, found.issue) == (Cursor(NOON, 7), success, None)

    def test_a_failed_table_keeps_its_lag_and_names_error_and_attempts(self, ledger: Ledger):
        success = offloaded(ledger)
        for attempt in (1, 2):
            ledger.record_failure(NAME, "clickhouse_connection", "It is down.", run_id="r", attempt=attempt)

        found = state(ledger, success + timedelta(minutes=3))

        assert (found.condition, found.lag) == (Condition.FAILED, timedelta(minutes=3))
        assert found.issue is not None
        assert (found.issue.kind, found.issue.message, found.issue.attempts) == (
            "clickhouse_connection",
            "It is down.",
            2,
        )

    def test_later_failed_attempts_do_not_hide_the_reason_of_a_halt(self, ledger: Ledger):
        offloaded(ledger)
        ledger.record_failure(NAME, "ledger_ahead", "Rolled back.", run_id="r", attempt=1, halt=True)
        ledger.record_failure(NAME, "halted", "It is halted.", run_id="r", attempt=2)

        found = state(ledger)

        assert found.condition is Condition.HALTED
        assert found.issue is not None
        assert (found.issue.kind, found.issue.message) == ("ledger_ahead", "Rolled back.")
        assert f"offload resume {NAME}" in (found.issue.remedy or "")

    def test_the_lag_of_a_first_run_that_keeps_failing_counts_from_the_first_row(self, ledger: Ledger):
        ledger.initialize(NAME)
        first = ledger.newest(NAME)
        assert first is not None
        ledger.record_failure(NAME, "spark", "It died.", run_id="r", attempt=1)

        found = state(ledger, first.created_at + timedelta(minutes=31))

        assert (found.last_success, found.lag, found.level) == (None, timedelta(minutes=31), LagLevel.CRITICAL)
        assert "never offloaded yet" in found.line()

    def test_a_table_without_a_row_has_no_lag_and_says_what_to_run(self, ledger: Ledger):
        found = state(ledger)

        assert (found.condition, found.lag, found.level) == (Condition.NO_WATERMARK, None, None)
        assert found.line() == f"{NAME}: Watermark not found for table: {NAME}."
        assert found.issue is not None
        assert found.issue.remedy == "Run `offload init`."

    def test_a_disabled_table_is_not_watched_and_has_no_level_however_old_its_last_success(self, ledger: Ledger):
        success = offloaded(ledger)

        found = state(ledger, success + timedelta(days=3), enabled=False)

        assert (found.condition, found.level, found.is_watched) == (Condition.DISABLED, None, False)

    def test_a_wrong_entry_has_the_message_of_the_configuration(self, ledger: Ledger):
        wrong = InvalidTable(name=NAME, layer=Layer.BRONZE, problem="Entry 1 is wrong.")

        (found,) = read_states(ledger, [wrong], LagMinutes(), NOON)

        assert (found.condition, found.is_watched) == (Condition.WRONG_ENTRY, True)
        assert found.issue is not None
        assert found.issue.message == "Entry 1 is wrong."


@pytest.mark.parametrize(
    ("kind", "attempts", "final"),
    [
        (ClickHouseUnavailable.kind, 2, False),
        (ClickHouseUnavailable.kind, 3, True),
        (SourceReplaced.kind, 1, True),
        (OffloadError.kind, 1, False),
        ("a kind of an older version", 2, False),
    ],
)
def test_an_issue_is_final_when_no_further_attempt_follows(kind: str, attempts: int, final: bool) -> None:
    assert Issue(kind, "x", attempts=attempts).is_final is final


def test_every_kind_of_error_says_whether_it_may_pass() -> None:
    classes = list(OffloadError.__subclasses__())
    for error in classes:
        assert "kind" not in vars(error) or may_pass(error.kind) is error.retryable, error
        classes += error.__subclasses__()
    assert len(classes) > 20
