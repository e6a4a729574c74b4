"""What the comparison of a window means."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from offload_core.config.tables import DEFAULT_TABLES, TableConfig
from offload_core.protocol.window import Cursor, Interval
from offload_ops.audit.classify import WindowComparison, classify
from offload_ops.audit.cold import ColdHash
from offload_ops.audit.lineage import NO_LINEAGE, Lineage
from offload_ops.audit.model import ColdSource, Differences, Finding, TableAudit, WindowAudit, merge_intervals
from offload_ops.tiers.row_hash import RowHash

TRADES, CANDLES = DEFAULT_TABLES[0], DEFAULT_TABLES[-1]
NOON = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def hour(number: int) -> Interval:
    return Interval(NOON + number * HOUR, NOON + (number + 1) * HOUR)


def classified(
    differences: Differences,
    held_before: int = 0,
    lineage: Lineage = NO_LINEAGE,
    unreadable: tuple[str, ...] = (),
    number: int = 0,
    table: TableConfig = TRADES,
) -> WindowAudit:
    """The audit of an hour in which ClickHouse holds 100 rows."""
    rows = 100 - differences.missing + differences.surplus + differences.duplicates
    cold = ColdHash(RowHash(rows, 2 if differences else 1), ColdSource.DATA, "print", unreadable)
    comparison = WindowComparison(hour(number), hour(number), RowHash(100, 1), cold)
    return classify(table, comparison, differences, held_before, lineage)


def test_equal_tiers_are_equal_whatever_they_held_before() -> None:
    audited = classified(Differences(), held_before=200, lineage=Lineage(True, 50, ()))

    assert (audited.finding, audited.explanation) == (Finding.EQUAL, "")


@pytest.mark.parametrize(
    ("found", "finding"),
    [
        (Differences(missing=3), Finding.LATE),
        (Differences(changed=3), Finding.CHANGED),
        (Differences(missing=3, changed=1), Finding.CHANGED),
        (Differences(surplus=1, changed=1), Finding.SURPLUS),
        (Differences(duplicates=1, missing=1), Finding.SURPLUS),
    ],
)
def test_the_worst_of_several_differences_is_the_finding(found: Differences, finding: Finding) -> None:
    assert classified(found).finding is finding


@pytest.mark.parametrize("lineage", [Lineage(True, 0, ()), Lineage(False, 1, ())])
def test_missing_rows_are_lost_where_the_table_was_rolled_back_or_shrank(lineage: Lineage) -> None:
    assert classified(Differences(missing=1), lineage=lineage).finding is Finding.LOST
    assert classified(Differences(surplus=1), lineage=lineage).finding is Finding.SURPLUS


def test_missing_rows_are_lost_where_iceberg_has_held_more() -> None:
    assert classified(Differences(missing=3), held_before=97).finding is Finding.LATE
    assert classified(Differences(missing=3), held_before=98).finding is Finding.LOST
    assert classified(Differences(missing=3, duplicates=10), held_before=98).finding is Finding.LOST


def test_unreadable_data_is_lost_even_if_no_row_is_missing() -> None:
    audited = classified(Differences(), unreadable=("a.parquet is missing",))

    assert audited.finding is Finding.LOST
    assert "a.parquet is missing" in audited.explanation


def test_the_explanation_names_table_interval_and_rows() -> None:
    audited = classified(Differences(missing=1, surplus=2_000, changed=3, duplicates=4))

    assert audited.explanation == (
        "bronze_trades_binance from 2026-11-01 12:00:00 to 2026-11-01 13:00:00: "
        "ClickHouse holds 100 rows, Iceberg 2,103; "
        "Iceberg lacks 1 row that arrived late; Iceberg holds 2,000 rows that ClickHouse lacks and should still have; "
        "Iceberg holds 4 rows more than once; 3 rows with other values (somebody changed one tier)."
    )


def table_audit(*windows: WindowAudit, table: TableConfig = TRADES) -> TableAudit:
    return TableAudit(table, Cursor(NOON), None, 1, "uuid", NOON, 0.1, windows)


def test_adjacent_intervals_are_repaired_together_and_lost_ones_not_at_all() -> None:
    late = [classified(Differences(missing=2), number=number) for number in (0, 1, 3)]
    lost = classified(Differences(missing=1), held_before=100, number=5)

    found = table_audit(*late, classified(Differences(), number=4), lost)

    assert found.to_repair == (Interval(NOON, NOON + 2 * HOUR), hour(3))
    assert found.late_rows == 6
    assert found.finding is Finding.LOST
    assert [audited.window for audited in found.differing] == [hour(0), hour(1), hour(3), hour(5)]
    assert found.loss is not None
    assert found.loss.kind == "cold_rows_lost"
    assert lost.explanation in found.loss.problem


def test_changed_rows_are_repaired_in_candles_and_left_to_an_operator_elsewhere() -> None:
    changed = classified(Differences(changed=2))

    assert table_audit(changed).to_repair == ()
    assert table_audit(changed).late_rows == 0
    assert table_audit(changed, table=CANDLES).to_repair == (hour(0),)
    assert table_audit(changed, table=CANDLES).late_rows == 2


def test_an_audit_without_windows_is_equal() -> None:
    found = table_audit()

    assert (found.finding, found.is_equal, found.loss, found.to_repair) == (Finding.EQUAL, True, None, ())


def test_overlapping_and_adjacent_intervals_are_merged() -> None:
    assert merge_intervals([hour(2), hour(0), hour(1), hour(4)]) == (Interval(NOON, NOON + 3 * HOUR), hour(4))
    assert merge_intervals([]) == ()
