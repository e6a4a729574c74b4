"""The history of watermarks in a real PostgreSQL: compare-and-set, failures, halts, resets."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest

from offload_core.errors import StartOver, TableHalted, WatermarkNotFound
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.rows import LedgerRow, Step, StepKind
from offload_core.ledger.session import LedgerConnection
from offload_core.protocol.plan import Progress
from offload_core.protocol.window import ORIGIN, Cursor, Window

pytestmark = pytest.mark.integration

NOON = datetime(2026, 11, 19, 12, 0, 0, 123456, tzinfo=timezone.utc)
SOURCE = uuid.uuid4()
TABLE = "trades"

OpenSession = Callable[..., LedgerConnection]


def step(minute: int = 0, **values: object) -> Step:
    """A commit of ten rows whose newest is from `minute` minutes after noon."""
    cursor = Cursor(NOON + timedelta(minutes=minute), 7)
    usual: dict[str, object] = {
        "kind": StepKind.INCREMENT,
        "cursor": cursor,
        "generation": 0,
        "source_uuid": SOURCE,
        "run_id": "run",
        "attempt": 1,
        "window": Window(ORIGIN, NOON + timedelta(minutes=minute + 1)),
        "rows": 10,
        "snapshot_id": 2**62 + minute,
        "total_records": 100,
        "seconds": 1.5,
    }
    return Step(**{**usual, **values})  # type: ignore[arg-type]


def empty(watermark: LedgerRow) -> Step:
    """A success that found nothing."""
    return step(kind=StepKind.EMPTY, cursor=watermark.cursor, rows=0, snapshot_id=None, total_records=None)


def fail(ledger: Ledger, *, halt: bool = False, message: str = "The disk is full.") -> None:
    ledger.record_failure(TABLE, "audit", message, run_id="run", attempt=2, halt=halt)


@pytest.fixture
def first(ledger: Ledger) -> LedgerRow:
    """The first watermark of the table."""
    ledger.initialize(TABLE)
    return ledger.watermark(TABLE)


class TestTheFirstWatermark:
    def test_a_table_without_one_is_an_error_in_the_words_operators_know(self, ledger):
        for read in (ledger.watermark, ledger.cursor, ledger.resume):
            with pytest.raises(WatermarkNotFound, match=r"^Watermark not found for table: bronze_trades_binance"):
                read("bronze_trades_binance")

    def test_it_is_1970_and_sequence_0(self, ledger):
        assert ledger.initialize(TABLE)

        row = ledger.watermark(TABLE)
        assert (row.cursor, row.status, row.kind) == (ORIGIN, "initialized", "init")
        assert (row.started_from, row.generation, row.source_uuid, row.last_successful_run) == (None, 0, None, None)

    def test_a_table_that_has_one_keeps_it(self, ledger, first):
        moved = ledger.append(first, step())

        assert not ledger.initialize(TABLE)
        assert ledger.watermark(TABLE) == moved

    @pytest.mark.usefixtures("first")
    def test_a_table_whose_runs_only_failed_keeps_its_history(self, ledger):
        fail(ledger)

        assert not ledger.initialize(TABLE)

    def test_a_failure_of_a_table_without_watermark_leaves_no_row(self, ledger):
        fail(ledger)
        fail(ledger, halt=True)

        assert ledger.newest(TABLE) is None


class TestSuccess:
    def test_every_value_of_a_step_is_kept_exactly(self, ledger, first):
        given = step(cursor=Cursor(NOON, 2**64 - 1), generation=3)

        row = ledger.append(first, given)

        assert row == ledger.watermark(TABLE) == ledger.newest(TABLE)
        assert given.window is not None
        assert (row.cursor, row.generation, row.source_uuid) == (given.cursor, 3, SOURCE)
        assert (row.window_lower, row.window_upper) == (given.window.lower.timestamp, given.window.upper)
        assert (row.row_count, row.snapshot_id, row.total_records) == (10, 2**62, 100)
        assert (row.run_id, row.attempt, row.last_run_duration_seconds) == ("run", 1, 1.5)
        assert (row.status, row.kind, row.started_from) == ("success", "increment", first.id)
        assert (row.failure_count, row.error_kind, row.last_error_message) == (0, None, None)

    def test_all_times_come_back_in_utc(self, ledger, session, first):
        session.execute("SET timezone = 'Asia/Tokyo'")

        row = ledger.append(first, step())

        assert row.cursor.timestamp.tzinfo is timezone.utc
        assert row.cursor == step().cursor

    def test_it_restarts_the_lag_clock(self, ledger, session, first):
        before = session.execute("SELECT clock_timestamp() AS now").fetchone()["now"]

        row = ledger.append(first, step())

        assert row.last_successful_run >= before
        assert abs(row.last_successful_run - row.created_at) < timedelta(seconds=1)

    def test_an_empty_window_restarts_the_lag_clock_and_leaves_the_watermark(self, ledger, first):
        moved = ledger.append(first, step())

        row = ledger.append(moved, empty(moved))

        assert row.cursor == moved.cursor
        assert row.last_successful_run > moved.last_successful_run

    def test_a_step_without_window_has_none_in_the_ledger(self, ledger, first):
        row = ledger.append(first, step(window=None))

        assert (row.window_lower, row.window_upper) == (None, None)

    def test_tables_and_pipelines_do_not_see_each_other(self, ledger, session, first):
        ledger.append(first, step())
        ledger.initialize("candles")
        other = Ledger(session, "another pipeline")

        assert ledger.watermark("candles").cursor == ORIGIN
        assert other.newest(TABLE) is None
        assert other.newest_rows() == {}
        assert other.history(TABLE) == []


class TestCompareAndSet:
    def test_of_two_writers_from_the_same_row_the_second_starts_over(self, ledger, open_session, pipeline, first):
        second = Ledger(open_session(), pipeline)
        seen = second.watermark(TABLE)
        won = ledger.append(first, step(1))

        with pytest.raises(StartOver, match=f"moved on from row {first.id}"):
            second.append(seen, step(2))

        assert ledger.watermark(TABLE) == won
        assert len(ledger.history(TABLE)) == 2

    def test_a_writer_from_an_older_row_starts_over(self, ledger, first):
        ledger.append(ledger.append(first, step(1)), step(2))

        with pytest.raises(StartOver):
            ledger.append(first, step(3))

    def test_a_reset_during_a_run_makes_the_run_start_over(self, ledger, first):
        reset = ledger.reset(TABLE, Cursor(NOON - timedelta(days=1)))

        with pytest.raises(StartOver):
            ledger.append(first, step())

        assert ledger.watermark(TABLE) == reset

    def test_failures_in_between_disturb_nobody(self, ledger, first):
        fail(ledger)
        fail(ledger)

        assert ledger.append(first, step()).started_from == first.id

    def test_a_run_that_overlaps_a_halt_does_not_let_the_table_go_on(self, ledger, first):
        fail(ledger, halt=True)

        with pytest.raises(StartOver):
            ledger.append(first, step())

        with pytest.raises(TableHalted):
            ledger.watermark(TABLE)

    @pytest.mark.usefixtures("first")
    def test_of_many_threads_exactly_one_wins_each_round(self, ledger, open_session, pipeline):
        writers, rounds = 6, 5
        ledgers = [Ledger(open_session(f"writer {number}"), pipeline) for number in range(writers)]
        start = threading.Barrier(writers)

        def write(mine: Ledger) -> int:
            won = 0
            for number in range(rounds):
                seen = mine.watermark(TABLE)
                start.wait(timeout=10)
                try:
                    mine.append(seen, step(number))
                    won += 1
                except StartOver:
                    pass
                start.wait(timeout=10)
            return won

        with ThreadPoolExecutor(writers) as pool:
            wins = list(pool.map(write, ledgers))

        history = ledger.history(TABLE, 1000)
        assert sum(wins) == rounds
        assert len(history) == rounds + 1
        assert [row.started_from for row in history] == [row.id for row in history[1:]] + [None]

    def test_a_writer_waits_for_one_whose_transaction_is_open_and_then_starts_over(
        self, ledger, open_session, pipeline, first
    ):
        slow = open_session("slow")
        with ThreadPoolExecutor(1) as pool:
            with slow.transaction():
                Ledger(slow, pipeline).append(first, step(1))
                late = pool.submit(ledger.append, first, step(2))
            with pytest.raises(StartOver):
                late.result(timeout=10)

        assert ledger.watermark(TABLE).cursor == step(1).cursor


class TestFailure:
    def test_a_failed_row_repeats_the_watermark_for_whoever_takes_the_newest_row(self, ledger, first):
        good = ledger.append(first, step())

        fail(ledger)

        row = ledger.newest(TABLE)
        assert (row.status, row.kind, row.cursor) == ("failed", "failure", good.cursor)
        assert (row.generation, row.source_uuid) == (good.generation, good.source_uuid)
        assert (row.error_kind, row.last_error_message) == ("audit", "The disk is full.")
        assert (row.run_id, row.attempt, row.started_from) == ("run", 2, good.id)
        assert ledger.watermark(TABLE) == good

    def test_every_failed_row_names_the_good_row_it_repeats(self, ledger, first):
        good = ledger.append(first, step())
        fail(ledger)
        fail(ledger, halt=True)
        fail(ledger)

        assert [row.started_from for row in ledger.history(TABLE, 3)] == [good.id] * 3

    def test_a_failed_row_does_not_restart_the_lag_clock(self, ledger, first):
        good = ledger.append(first, step())

        fail(ledger)

        assert ledger.newest(TABLE).last_successful_run == good.last_successful_run

    def test_failures_in_a_row_are_counted_and_a_success_forgets_them(self, ledger, first):
        counts = []
        for _ in range(3):
            fail(ledger)
            counts.append(ledger.newest(TABLE).failure_count)

        after = ledger.append(first, step())
        fail(ledger)

        assert counts == [1, 2, 3]
        assert after.failure_count == 0
        assert ledger.newest(TABLE).failure_count == 1

    @pytest.mark.usefixtures("first")
    def test_failures_of_one_table_are_not_counted_for_another(self, ledger):
        ledger.initialize("candles")
        ledger.record_failure("candles", "audit", "?", run_id="run", attempt=1)

        fail(ledger)

        assert ledger.newest(TABLE).failure_count == 1

    def test_a_failure_has_no_rows_and_no_snapshot(self, ledger, first):
        ledger.append(first, step())
        fail(ledger)

        row = ledger.newest(TABLE)
        assert (row.row_count, row.snapshot_id, row.total_records) == (0, None, None)


class TestHalt:
    def test_a_halted_table_stays_halted_with_its_reason_whatever_fails_afterwards(self, ledger, first):
        good = ledger.append(first, step())
        fail(ledger, halt=True, message="The source was replaced.")
        fail(ledger, message="trades is halted")

        with pytest.raises(TableHalted, match=r"trades is halted since .*: The source was replaced\.") as caught:
            ledger.watermark(TABLE)

        assert "`offload resume trades`" in caught.value.remedy
        assert ledger.cursor(TABLE) == good.cursor

    def test_an_operator_lets_it_go_on_from_the_same_watermark_with_any_source(self, ledger, first):
        good = ledger.append(first, step(generation=4))
        fail(ledger, halt=True)

        row = ledger.resume(TABLE)

        assert ledger.watermark(TABLE) == row
        assert (row.kind, row.status, row.cursor) == ("resume", "initialized", good.cursor)
        assert (row.generation, row.source_uuid, row.failure_count) == (5, None, 0)
        assert row.last_successful_run == good.last_successful_run

    def test_after_a_resume_earlier_commits_are_not_held_against_the_table(self, ledger, first):
        good = ledger.append(first, step())
        assert ledger.last_commit(TABLE) == good
        fail(ledger, halt=True)
        resumed = ledger.resume(TABLE)
        assert ledger.last_commit(TABLE) is None

        again = ledger.append(resumed, step(1))

        assert ledger.last_commit(TABLE) == again

    def test_the_last_commit_is_the_newest_that_published_a_snapshot(self, ledger, first):
        assert ledger.last_commit(TABLE) is None
        good = ledger.append(first, step())
        ledger.append(good, empty(good))
        fail(ledger)
        ledger.reset(TABLE, ORIGIN)

        assert ledger.last_commit(TABLE) == good


class TestReset:
    def test_it_moves_the_watermark_and_keeps_the_rest(self, ledger, first):
        good = ledger.append(first, step(generation=2))
        fail(ledger)
        target = Cursor(NOON - timedelta(days=3))

        row = ledger.reset(TABLE, target)

        assert ledger.watermark(TABLE) == row
        assert (row.kind, row.status, row.cursor) == ("reset", "initialized", target)
        assert (row.generation, row.source_uuid, row.started_from) == (2, SOURCE, good.id)
        assert row.last_successful_run == good.last_successful_run
        assert row.failure_count == 0

    def test_a_table_without_history_can_be_given_its_first_watermark(self, ledger):
        row = ledger.reset(TABLE, Cursor(NOON, 5))

        assert ledger.watermark(TABLE) == row
        assert (row.cursor, row.started_from, row.source_uuid) == (Cursor(NOON, 5), None, None)

    def test_a_plain_insert_with_three_columns_is_a_reset(self, session):
        ours = Ledger(session, "iceberg_offload")
        table = f"trades_{uuid.uuid4().hex}"
        ours.initialize(table)
        good = ours.append(ours.watermark(table), step())

        session.execute(
            "INSERT INTO offload_watermarks (table_name, max_timestamp, max_sequence_number) VALUES (%s, %s, %s)",
            (table, "2026-02-11 00:00:00", 0),
        )

        row = ours.watermark(table)
        assert (row.kind, row.status) == ("reset", "initialized")
        assert row.cursor == Cursor(datetime(2026, 2, 11, tzinfo=timezone.utc))
        with pytest.raises(StartOver):
            ours.append(good, step(1))
        assert ours.append(row, step(2)).started_from == row.id

    def test_a_plain_insert_does_not_make_the_table_look_as_if_it_had_never_been_offloaded(
        self, ledger, session, pipeline, first
    ):
        good = ledger.append(first, step())
        session.execute(
            "INSERT INTO offload_watermarks (pipeline_id, table_name, max_timestamp) VALUES (%s, %s, now())",
            (pipeline, TABLE),
        )

        fail(ledger)

        assert ledger.newest(TABLE).last_successful_run == good.last_successful_run

    def test_a_plain_insert_can_not_invent_a_status(self, session, pipeline):
        with pytest.raises(Exception, match="status_check"):
            session.execute(
                "INSERT INTO offload_watermarks (pipeline_id, table_name, max_timestamp, status) VALUES (%s, %s, "
                "now(), 'ok')",
                (pipeline, TABLE),
            )


class TestLooking:
    def test_history_is_newest_first_and_as_long_as_asked_for(self, ledger, first):
        second = ledger.append(first, step(1))
        fail(ledger)
        third = ledger.append(second, step(2))

        statuses = [(row.status, row.kind) for row in ledger.history(TABLE)]

        assert statuses == [
            ("success", "increment"),
            ("failed", "failure"),
            ("success", "increment"),
            ("initialized", "init"),
        ]
        assert ledger.history(TABLE, 1) == [third]

    def test_the_newest_row_of_every_table_is_found_at_once(self, ledger, first):
        good = ledger.append(first, step())
        ledger.initialize("candles")
        ledger.record_failure("candles", "audit", "?", run_id="run", attempt=1)

        rows = ledger.newest_rows()

        assert set(rows) == {TABLE, "candles"}
        assert rows[TABLE] == good
        assert rows["candles"].status == "failed"

    @pytest.mark.usefixtures("first")
    def test_a_halted_table_is_known_with_its_reason_whatever_fails_afterwards(self, ledger):
        fail(ledger, halt=True, message="Rolled back.")
        fail(ledger, message="It is halted.")
        ledger.initialize("other")
        ledger.record_failure("other", "audit", "?", run_id="run", attempt=1)

        assert {name: row.last_error_message for name, row in ledger.halts().items()} == {TABLE: "Rolled back."}
        ledger.resume(TABLE)
        assert ledger.halts() == {}

    @pytest.mark.usefixtures("first")
    def test_failures_are_found_from_a_moment_on(self, ledger):
        fail(ledger, message="early")
        early = ledger.newest(TABLE)
        fail(ledger, message="late", halt=True)
        ledger.resume(TABLE)

        found = ledger.failures_since(early.created_at + timedelta(microseconds=1))

        assert [row.last_error_message for row in found] == ["late"]
        assert [row.last_error_message for row in ledger.failures_since(early.created_at)] == ["early", "late"]

    def test_the_rows_of_a_run_are_found_across_tables_oldest_first(self, ledger, first):
        ledger.initialize("candles")
        mine = ledger.append(first, step(run_id="mine"))
        ledger.append(mine, step(1, run_id="other"))
        ledger.record_failure("candles", "audit", "?", run_id="mine", attempt=1)

        rows = ledger.rows_of_run("mine", mine.created_at)

        assert [(row.table_name, row.status) for row in rows] == [(TABLE, "success"), ("candles", "failed")]
        assert ledger.rows_of_run("mine", rows[-1].created_at + timedelta(seconds=1)) == []

    @pytest.mark.parametrize("name", ["tr'ades", 'tr"ades', "trades; DROP TABLE offload_watermarks", "%s", "trädes 🧊"])
    def test_names_are_values_and_never_sql(self, ledger, name):
        ledger.initialize(name)
        ledger.record_failure(name, "audit", name, run_id=name, attempt=1)

        assert ledger.newest(name).last_error_message == name
        assert ledger.newest_rows().keys() == {name}


class TestStepsBehindTheWatermark:
    """Repairs and restatements: they are recorded, and leave watermark, lag and failures as they were."""

    @staticmethod
    def repair(row: LedgerRow) -> Step:
        return step(kind=StepKind.REPAIR, cursor=row.cursor, window=Window(ORIGIN, NOON - timedelta(days=1)))

    @pytest.mark.parametrize("kind", ["repair", "restate"])
    def test_they_leave_lag_and_failures_as_they_were(self, ledger, first, kind):
        moved = ledger.append(first, step())
        fail(ledger)
        fail(ledger)

        row = ledger.append(moved, step(kind=kind, cursor=moved.cursor))

        assert (row.last_successful_run, row.failure_count) == (moved.last_successful_run, 2)
        assert ledger.watermark(TABLE) == row

    def test_how_far_runs_have_read_is_the_latest_end_of_a_window(self, ledger, first):
        assert ledger.progress(TABLE, first).seen_until is None
        moved = ledger.append(first, step(minute=3))
        row = ledger.append(moved, self.repair(moved))

        assert ledger.progress(TABLE, row) == Progress(row.cursor, NOON + timedelta(minutes=4))

    @pytest.mark.parametrize("operator", ["reset", "resume"])
    def test_an_operators_word_ends_what_runs_have_read(self, ledger, first, operator):
        ledger.append(first, step())

        row = ledger.reset(TABLE, ORIGIN) if operator == "reset" else ledger.resume(TABLE)

        assert ledger.progress(TABLE, row).seen_until is None
