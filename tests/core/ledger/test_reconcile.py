"""Do ledger and Iceberg agree? Each rule of step two of a run."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from offload_core.errors import ColdRowsLost, LedgerAhead, SourceReplaced, TableHalted, WatermarkInvalid
from offload_core.ledger.reconcile import ColdState, require_agreement, unrecorded_commit
from offload_core.ledger.rows import LedgerRow, RowStatus, StepKind
from offload_core.protocol.marker import Marker
from offload_core.protocol.window import ORIGIN, Cursor, Window

NOON = datetime(2026, 11, 19, 12, tzinfo=timezone.utc)
SOURCE, ANOTHER_SOURCE = uuid.UUID(int=1), uuid.UUID(int=2)
NOTHING_COLD = ColdState(marker=None, snapshot_id=None, records_at_marker=None, records=0)


def marker(ledger_id: int) -> Marker:
    """The marker of a commit that started from this ledger row."""
    return Marker(
        pipeline="p",
        source_uuid=SOURCE,
        generation=0,
        window=Window(ORIGIN, NOON),
        cursor=Cursor(NOON - timedelta(minutes=1), 9),
        rows=10,
        run_id="run",
        attempt=1,
        attempt_id="a",
        ledger_id=ledger_id,
    )


def cold(ledger_id: int, records: int = 100) -> ColdState:
    """What Iceberg says after a commit that started from this ledger row."""
    return ColdState(marker(ledger_id), snapshot_id=7, records_at_marker=records, records=records)


def row(id: int, **values: object) -> LedgerRow:
    """A ledger row; the first one of a table unless said otherwise."""
    first = LedgerRow(
        id=id,
        table_name="trades",
        cursor=ORIGIN,
        status=RowStatus.INITIALIZED,
        kind=StepKind.INIT,
        created_at=NOON,
        started_from=None,
        generation=0,
        source_uuid=None,
        window_lower=None,
        window_upper=None,
        row_count=0,
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
    return replace(first, **values)  # type: ignore[arg-type]


def commit(id: int, started_from: int, records: int = 100) -> LedgerRow:
    """The row of a commit that the ledger knows."""
    return row(
        id,
        status=RowStatus.SUCCESS,
        kind=StepKind.INCREMENT,
        cursor=marker(started_from).cursor,
        started_from=started_from,
        source_uuid=SOURCE,
        snapshot_id=7,
        row_count=10,
        total_records=records,
    )


class TestACommitThatTheLedgerDoesNotKnow:
    def test_a_run_that_died_between_commit_and_ledger_is_found(self):
        assert unrecorded_commit(row(5), None, 5, cold(5)) == marker(5)

    def test_a_recorded_commit_is_not_found_again(self):
        last = commit(6, started_from=5)

        assert unrecorded_commit(last, last, 5, cold(5)) is None

    def test_an_empty_success_after_a_recorded_commit_changes_nothing(self):
        empty = row(7, status=RowStatus.SUCCESS, kind=StepKind.EMPTY, started_from=6, source_uuid=SOURCE)

        assert unrecorded_commit(empty, commit(6, started_from=5), 5, cold(5)) is None

    def test_a_commit_is_found_even_behind_empty_windows_whose_rows_had_expired(self):
        empty = row(7, status=RowStatus.SUCCESS, kind=StepKind.EMPTY, started_from=5, source_uuid=SOURCE)

        assert unrecorded_commit(empty, None, 5, cold(5)) == marker(5)

    def test_an_empty_window_after_a_reset_does_not_bring_the_commit_before_it_back(self):
        empty = row(9, status=RowStatus.SUCCESS, kind=StepKind.EMPTY, started_from=8, source_uuid=SOURCE)

        assert unrecorded_commit(empty, None, 8, cold(5)) is None

    def test_a_reset_that_is_newer_than_the_commit_counts_more(self):
        assert unrecorded_commit(row(8, kind=StepKind.RESET, started_from=5), None, 8, cold(5)) is None

    def test_a_ledger_restored_from_an_older_backup_is_brought_up_to_date(self):
        last = replace(commit(3, started_from=2), snapshot_id=6)

        assert unrecorded_commit(last, last, 1, cold(5)) == marker(5)

    def test_a_commit_found_in_a_restored_ledger_is_not_found_again(self):
        recovered = replace(commit(4, started_from=3), snapshot_id=7)

        assert unrecorded_commit(recovered, recovered, 1, cold(5)) is None

    def test_a_table_without_commits_has_none(self):
        assert unrecorded_commit(row(1), None, 1, NOTHING_COLD) is None


class TestAgreement:
    def test_a_fresh_table_agrees(self):
        require_agreement(row(1), None, NOTHING_COLD, SOURCE)

    def test_a_table_after_its_commit_agrees(self):
        last = commit(6, started_from=5)

        require_agreement(last, last, cold(5), SOURCE)

    def test_compaction_and_rows_of_others_are_no_disagreement(self):
        last = commit(6, started_from=5, records=100)

        require_agreement(last, last, replace(cold(5), records=150), SOURCE)

    def test_a_reset_after_the_commit_agrees(self):
        reset = row(9, kind=StepKind.RESET, started_from=6, source_uuid=SOURCE)

        require_agreement(reset, commit(6, started_from=5), cold(5), SOURCE)

    def test_a_commit_that_was_never_recorded_because_of_a_reset_agrees(self):
        reset = row(9, kind=StepKind.RESET, started_from=6, source_uuid=SOURCE)

        require_agreement(reset, commit(6, started_from=5), cold(6, records=110), SOURCE)

    def test_a_source_that_was_made_again_halts_the_table(self):
        last = commit(6, started_from=5)

        with pytest.raises(SourceReplaced) as caught:
            require_agreement(last, last, cold(5), ANOTHER_SOURCE)

        assert str(SOURCE) in caught.value.problem
        assert str(ANOTHER_SOURCE) in caught.value.problem
        assert "`offload resume trades`" in caught.value.remedy

    def test_a_source_that_was_made_again_before_the_first_commit_halts_the_table_too(self):
        empty = row(2, status=RowStatus.SUCCESS, kind=StepKind.EMPTY, started_from=1, source_uuid=SOURCE)

        with pytest.raises(SourceReplaced):
            require_agreement(empty, None, NOTHING_COLD, ANOTHER_SOURCE)

    def test_a_table_that_lost_all_its_snapshots_is_behind_the_ledger(self):
        last = commit(6, started_from=5)

        with pytest.raises(LedgerAhead, match=r"Iceberg's trades lacks snapshot 7 \(10 rows up to ") as caught:
            require_agreement(last, last, NOTHING_COLD, SOURCE)

        assert "`offload reset trades`" in caught.value.remedy
        assert "`offload resume trades`" in caught.value.remedy

    def test_a_table_rolled_back_to_an_earlier_commit_is_behind_the_ledger(self):
        last = replace(commit(8, started_from=7), snapshot_id=8)

        with pytest.raises(LedgerAhead):
            require_agreement(last, last, cold(5), SOURCE)

    def test_a_reset_does_not_hide_that_the_table_was_rolled_back(self):
        reset = row(9, kind=StepKind.RESET, started_from=8, source_uuid=SOURCE)

        with pytest.raises(LedgerAhead):
            require_agreement(reset, replace(commit(8, started_from=7), snapshot_id=8), cold(5), SOURCE)

    def test_rows_that_vanished_halt_the_table_with_their_number(self):
        last = commit(6, started_from=5, records=100)

        with pytest.raises(
            ColdRowsLost, match=r"lost 3 rows since our last commit \(100 rows in snapshot 7, 97 now\)"
        ) as caught:
            require_agreement(last, last, replace(cold(5, records=100), records=97), SOURCE)

        assert "`offload resume trades`" in caught.value.remedy

    def test_lost_rows_are_named_by_partition_even_where_foreign_rows_hide_them_in_the_total(self):
        last = commit(6, started_from=5, records=100)
        state = replace(cold(5), records=150, lost={"2026-11-17": 2, "2026-11-18": 500})

        with pytest.raises(ColdRowsLost, match=r"lost 502 rows .*: 2026-11-17 lost 2 rows, 2026-11-18 lost 500 rows"):
            require_agreement(last, last, state, SOURCE)

    def test_a_history_that_was_expired_past_our_commit_is_told_from_a_rollback(self):
        last = commit(6, started_from=5)

        with pytest.raises(LedgerAhead, match="expired past our newest commit") as caught:
            require_agreement(last, last, replace(NOTHING_COLD, records=100, is_cut=True), SOURCE)

        assert "`offload verify trades`" in caught.value.remedy

    def test_an_unreadable_marker_of_a_commit_that_the_ledger_knows_is_no_disagreement(self):
        last = commit(6, started_from=5)

        require_agreement(last, last, replace(cold(5), marker=None, unreadable="No 'rows'."), SOURCE)

    @pytest.mark.parametrize("last", [None, replace(commit(4, started_from=3), snapshot_id=6)])
    def test_an_unreadable_marker_of_a_commit_that_the_ledger_lacks_is_an_error(self, last):
        with pytest.raises(WatermarkInvalid, match="No 'rows'") as caught:
            require_agreement(last or row(1), last, replace(cold(5), marker=None, unreadable="No 'rows'."), SOURCE)

        assert "`offload resume trades`" in caught.value.remedy

    @pytest.mark.parametrize(
        "state",
        [
            NOTHING_COLD,
            cold(2),
            replace(cold(5), records=0),
            replace(cold(5), lost={"2026-11-18": 500}),
            replace(cold(5), marker=None, unreadable="No 'rows'."),
        ],
    )
    def test_what_an_operator_has_accepted_is_not_held_against_the_table_again(self, state):
        resumed = row(12, kind=StepKind.RESUME, started_from=11, generation=1)

        require_agreement(resumed, None, state, ANOTHER_SOURCE)

    def test_a_commit_without_a_record_count_is_believed(self):
        last = replace(commit(6, started_from=5), total_records=None)

        require_agreement(last, last, replace(cold(5), records=0), SOURCE)

    def test_every_disagreement_halts(self):
        assert all(issubclass(error, TableHalted) for error in (SourceReplaced, LedgerAhead, ColdRowsLost))
