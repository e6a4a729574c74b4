"""What the ledger says about a table, for an audit."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from uuid import UUID

from offload_core.config.tables import DEFAULT_TABLES, TableConfig
from offload_core.ledger.rows import POSITION_KINDS, LedgerRow, RowStatus, StepKind
from offload_core.protocol.window import EARLIEST, EPOCH, MICROSECOND, Cursor, Interval
from offload_ops.audit.ledger_history import OffloadHistory
from offload_ops.audit.model import NO_DIFFERENCE, ColdSource, Differences, Finding
from offload_ops.audit.store import StoredAudit
from offload_ops.tiers.row_hash import RowHash

TRADES, CANDLES = DEFAULT_TABLES[0], DEFAULT_TABLES[-1]
NOON = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
WINDOW = Interval(NOON, NOON + timedelta(hours=1))
CREATED = NOON + timedelta(minutes=1_000.5)
HERE, ELSEWHERE = "4b9f1c9e-0000-4000-8000-000000000001", "4b9f1c9e-0000-4000-8000-000000000002"


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


class Steps:
    """A ledger, written row by row."""

    def __init__(self) -> None:
        self.steps: list[LedgerRow] = []

    def add(self, kind: str, last: datetime, lower: datetime | None = None, rows: int = 0, source: str = HERE) -> Steps:
        number = len(self.steps) + 1
        self.steps.append(
            LedgerRow(
                id=number,
                table_name=TRADES.name,
                cursor=Cursor(last),
                status=RowStatus.INITIALIZED if kind in POSITION_KINDS else RowStatus.SUCCESS,
                kind=StepKind(kind),
                created_at=at(1_000 + number),
                started_from=number - 1,
                generation=0,
                source_uuid=UUID(source) if lower else None,
                window_lower=lower,
                window_upper=last if lower else None,
                row_count=rows,
                snapshot_id=None,
                total_records=None,
                run_id=None,
                attempt=None,
                last_successful_run=None,
                last_run_duration_seconds=None,
                failure_count=0,
                error_kind=None,
                last_error_message=None,
            )
        )
        return self

    def history(self, table: TableConfig = TRADES) -> OffloadHistory:
        return OffloadHistory(table, WINDOW, self.steps[-1].cursor, None, self.steps)


def started() -> Steps:
    return Steps().add("init", EPOCH).add("increment", at(15), EPOCH, 100)


def earlier(rows: int, duplicates: int = 0, created_at: datetime = CREATED, part: Interval = WINDOW) -> StoredAudit:
    return StoredAudit(
        table_name="trades",
        window=WINDOW,
        compared=part,
        hot=RowHash(rows, 1),
        cold=RowHash(rows, 1),
        finding=Finding.EQUAL,
        differences=Differences(duplicates=duplicates),
        unreadable=(),
        explanation="",
        fingerprint="",
        cold_source=ColdSource.DATA,
        snapshot_id=1,
        source_uuid=HERE,
        held_since=None,
        audited_at=created_at,
        created_at=created_at,
        run_id="test",
    )


class TestSkipped:
    def test_nothing_was_skipped_in_a_table_offloaded_from_the_beginning(self) -> None:
        (gap,) = started().history().skipped

        assert gap == Interval(EARLIEST, EPOCH + MICROSECOND)

    def test_a_watermark_moved_forward_by_hand_leaves_a_gap(self) -> None:
        history = started().add("reset", at(40)).add("increment", at(50), at(40), 10).history()

        assert history.skipped[1:] == [Interval(at(15), at(40) + MICROSECOND)]

    def test_a_watermark_moved_back_leaves_no_gap(self) -> None:
        assert len(started().add("reset", at(5)).add("increment", at(20), at(5), 10).history().skipped) == 1

    def test_the_part_of_a_gap_that_was_read_later_is_closed(self) -> None:
        history = started().add("reset", at(40)).add("repair", at(30), at(20), 10).history()

        assert history.skipped[1:] == [
            Interval(at(15), at(20) + MICROSECOND),
            Interval(at(30) + MICROSECOND, at(40) + MICROSECOND),
        ]

    def test_everything_before_a_first_watermark_set_by_hand_was_skipped(self) -> None:
        assert Steps().add("reset", at(0)).history().skipped == [Interval(EARLIEST, at(0) + MICROSECOND)]


class TestReplacedSource:
    def test_rows_of_a_replaced_source_are_known_up_to_their_last_moment(self) -> None:
        steps = started().add("increment", at(20), at(15), 5, ELSEWHERE).add("resume", at(20))

        assert steps.history().replaced_until(ELSEWHERE) == at(15)
        assert steps.add("increment", at(30), at(20), 5).history().replaced_until(HERE) == at(20)

    def test_a_source_has_held_rows_since_its_first_window_with_a_lower_end(self) -> None:
        steps = started()
        assert steps.history().held_from(HERE) is None

        steps.add("increment", at(20), at(18), 0).add("increment", at(30), at(20), 7)

        assert steps.history().held_from(HERE) == at(20)
        assert steps.history().held_from(ELSEWHERE) is None


class TestRowsAtLeast:
    def test_commits_whose_rows_lie_in_the_window_count(self) -> None:
        history = started().add("increment", at(30), at(15), 7).add("increment", at(70), at(30), 9).history()

        assert history.rows_at_least(WINDOW, None) == 7

    def test_rows_of_the_last_audit_count_without_duplicates(self) -> None:
        assert started().history().rows_at_least(WINDOW, earlier(50, duplicates=8)) == 42

    def test_lost_rows_stay_lost_in_later_audits(self) -> None:
        late = replace(earlier(50), differences=Differences(missing=8), finding=Finding.LATE)
        assert started().history().rows_at_least(WINDOW, late) == 50

        assert started().history().rows_at_least(WINDOW, replace(late, finding=Finding.LOST)) == 58

    def test_an_audit_of_more_than_is_compared_now_does_not_count(self) -> None:
        part = Interval(at(10), WINDOW.end)

        assert started().history().rows_at_least(part, earlier(50)) == 0
        assert started().history().rows_at_least(WINDOW, earlier(50, part=part)) == 50

    def test_rows_before_an_operators_acceptance_do_not_count(self) -> None:
        history = started().add("increment", at(30), at(15), 7).add("resume", at(30)).history()

        assert history.rows_at_least(WINDOW, earlier(50)) == 0
        assert history.rows_at_least(WINDOW, earlier(50, created_at=at(2_000))) == 50

    def test_rows_replaced_in_the_window_do_not_count(self) -> None:
        elsewhere = started().add("increment", at(30), at(15), 7).add("restate", at(-5), at(-60), 3)
        assert elsewhere.history().rows_at_least(WINDOW, None) == 7

        assert elsewhere.add("restate", at(20), at(10), 3).history().rows_at_least(WINDOW, None) == 0

    def test_candles_that_a_reset_counts_again_do_not_count_twice(self) -> None:
        steps = started().add("increment", at(30), at(15), 7).add("reset", at(15)).add("increment", at(30), at(15), 7)

        assert steps.history(CANDLES).rows_at_least(WINDOW, None) == 7
        assert steps.history(TRADES).rows_at_least(WINDOW, None) == 14


def test_only_candles_that_had_closed_by_the_last_run_are_compared() -> None:
    steps = started().add("empty", at(45), at(15))

    assert steps.history(CANDLES).closed_by == at(45)
    assert steps.history(TRADES).closed_by is None
    assert replace(steps.history(CANDLES), steps=[]).closed_by == at(45)
    assert not NO_DIFFERENCE
