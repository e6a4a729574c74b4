"""What the ledger says of a table's past, as far as an audit is concerned."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

from offload_core.config.tables import DEFAULT_TABLES, TableConfig
from offload_core.protocol.window import EARLIEST, EPOCH, MICROSECOND, Cursor, Interval
from offload_ops.audit.ledger_history import Past, PastStep
from offload_ops.audit.model import NO_DIFFERENCE, ColdSource, Differences, Finding
from offload_ops.audit.store import StoredAudit
from offload_ops.tiers.row_hash import RowHash

TRADES, CANDLES = DEFAULT_TABLES[0], DEFAULT_TABLES[-1]
NOON = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
WINDOW = Interval(NOON, NOON + timedelta(hours=1))
CREATED = NOON + timedelta(minutes=1_000.5)
HERE, ELSEWHERE = "here", "elsewhere"


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


class Steps:
    """A ledger that is written down row by row."""

    def __init__(self) -> None:
        self.steps: list[PastStep] = []

    def add(self, kind: str, last: datetime, lower: datetime | None = None, rows: int = 0, uuid: str = HERE) -> Steps:
        number = len(self.steps) + 1
        self.steps.append(
            PastStep(
                id=number,
                kind=kind,
                created_at=at(1_000 + number),
                last=last,
                window_lower=lower,
                window_upper=last if lower else None,
                rows=rows,
                source_uuid=uuid if lower else None,
            )
        )
        return self

    def past(self, table: TableConfig = TRADES) -> Past:
        return Past(table, WINDOW, Cursor(self.steps[-1].last), None, self.steps)


def begun() -> Steps:
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


class TestWhatNoRunHasRead:
    def test_of_a_table_that_was_offloaded_from_the_beginning_all_was_read(self) -> None:
        (gap,) = begun().past().skipped

        assert gap == Interval(EARLIEST, EPOCH + MICROSECOND)

    def test_a_watermark_moved_forward_by_hand_leaves_a_gap(self) -> None:
        past = begun().add("reset", at(40)).add("increment", at(50), at(40), 10).past()

        assert past.skipped[1:] == [Interval(at(15), at(40) + MICROSECOND)]

    def test_a_watermark_moved_back_leaves_none(self) -> None:
        assert len(begun().add("reset", at(5)).add("increment", at(20), at(5), 10).past().skipped) == 1

    def test_a_gap_that_was_read_after_all_is_one_no_more(self) -> None:
        past = begun().add("reset", at(40)).add("repair", at(30), at(20), 10).past()

        assert past.skipped[1:] == [
            Interval(at(15), at(20) + MICROSECOND),
            Interval(at(30) + MICROSECOND, at(40) + MICROSECOND),
        ]

    def test_a_first_watermark_chosen_by_hand_leaves_out_what_lies_before(self) -> None:
        assert Steps().add("reset", at(0)).past().skipped == [Interval(EARLIEST, at(0) + MICROSECOND)]


class TestAnotherSource:
    def test_rows_of_a_table_that_was_replaced_are_known_to_be_of_another(self) -> None:
        steps = begun().add("increment", at(20), at(15), 5, ELSEWHERE).add("resume", at(20))

        assert steps.past().replaced_until(ELSEWHERE) == at(15)
        assert steps.add("increment", at(30), at(20), 5).past().replaced_until(HERE) == at(20)

    def test_a_source_is_known_to_have_held_rows_since_its_first_window_that_has_a_lower_end(self) -> None:
        steps = begun()
        assert steps.past().held_from(HERE) is None

        steps.add("increment", at(20), at(18), 0).add("increment", at(30), at(20), 7)

        assert steps.past().held_from(HERE) == at(20)
        assert steps.past().held_from(ELSEWHERE) is None


class TestRowsThatIcebergHeld:
    def test_commits_whose_rows_lie_in_the_window_count(self) -> None:
        past = begun().add("increment", at(30), at(15), 7).add("increment", at(70), at(30), 9).past()

        assert past.rows_at_least(WINDOW, None) == 7

    def test_what_the_last_audit_saw_counts_without_duplicates(self) -> None:
        assert begun().past().rows_at_least(WINDOW, earlier(50, duplicates=8)) == 42

    def test_what_was_lost_stays_lost_at_the_next_audits(self) -> None:
        late = replace(earlier(50), differences=Differences(missing=8), finding=Finding.LATE)
        assert begun().past().rows_at_least(WINDOW, late) == 50

        assert begun().past().rows_at_least(WINDOW, replace(late, finding=Finding.LOST)) == 58

    def test_an_audit_of_more_than_is_compared_now_does_not_count(self) -> None:
        part = Interval(at(10), WINDOW.end)

        assert begun().past().rows_at_least(part, earlier(50)) == 0
        assert begun().past().rows_at_least(WINDOW, earlier(50, part=part)) == 50

    def test_what_an_operator_accepted_counts_no_more(self) -> None:
        past = begun().add("increment", at(30), at(15), 7).add("resume", at(30)).past()

        assert past.rows_at_least(WINDOW, earlier(50)) == 0
        assert past.rows_at_least(WINDOW, earlier(50, created_at=at(2_000))) == 50

    def test_what_was_replaced_in_the_window_counts_no_more(self) -> None:
        elsewhere = begun().add("increment", at(30), at(15), 7).add("restate", at(-5), at(-60), 3)
        assert elsewhere.past().rows_at_least(WINDOW, None) == 7

        assert elsewhere.add("restate", at(20), at(10), 3).past().rows_at_least(WINDOW, None) == 0

    def test_candles_that_a_reset_counts_again_do_not_count_twice(self) -> None:
        steps = begun().add("increment", at(30), at(15), 7).add("reset", at(15)).add("increment", at(30), at(15), 7)

        assert steps.past(CANDLES).rows_at_least(WINDOW, None) == 7
        assert steps.past(TRADES).rows_at_least(WINDOW, None) == 14


def test_only_candles_that_had_closed_by_the_last_run_are_compared() -> None:
    steps = begun().add("empty", at(45), at(15))

    assert steps.past(CANDLES).closed_by == at(45)
    assert steps.past(TRADES).closed_by is None
    assert replace(steps.past(CANDLES), steps=[]).closed_by == at(45)
    assert not NO_DIFFERENCE
