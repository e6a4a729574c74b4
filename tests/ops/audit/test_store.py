"""The results of audits in PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from offload_core.config.tables import DEFAULT_TABLES
from offload_core.errors import RunInit
from offload_core.ledger.session import LedgerConnection
from offload_core.protocol.window import Cursor, Interval
from offload_ops.audit.model import ColdSource, Differences, Finding, TableAudit, WindowAudit
from offload_ops.audit.store import AuditStore, SourceBounds
from offload_ops.tiers.row_hash import RowHash

NOON = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
UUID = "4a4f57a4-30a4-4b35-ae6c-9d0a6f6e5b01"
ALWAYS = Interval(NOON - 100 * HOUR, NOON + 100 * HOUR)

pytestmark = pytest.mark.integration


@pytest.fixture
def store(session: LedgerConnection, pipeline: str) -> AuditStore:
    return AuditStore(session, pipeline)


def window(hour: int, finding: Finding = Finding.EQUAL, rows: int = 10, **differences: int) -> WindowAudit:
    interval = Interval(NOON + hour * HOUR, NOON + (hour + 1) * HOUR)
    same = RowHash(rows, 2**64 - 1)
    return WindowAudit(
        interval, interval, same, same, finding, Differences(**differences), (), "why", "print", ColdSource.DATA
    )


def audit(*windows: WindowAudit, at: datetime = NOON, table: int = 0, held_since: datetime | None = None) -> TableAudit:
    return TableAudit(DEFAULT_TABLES[table], Cursor(NOON), held_since, 2**62, UUID, at, 0.5, windows)


NAME = DEFAULT_TABLES[0].name


def test_a_recorded_audit_is_read_unchanged(store: AuditStore) -> None:
    lost = replace(window(1, Finding.LOST, missing=3, surplus=2, changed=1, duplicates=4), unreadable=("a is missing",))
    store.append(audit(window(0), lost, held_since=NOON - HOUR), "run-1")

    first, second = store.newest(NAME, ALWAYS)

    assert (first.hot, first.window, first.snapshot_id) == (RowHash(10, 2**64 - 1), window(0).window, 2**62)
    assert (second.finding, second.differences, second.unreadable) == (lost.finding, lost.differences, lost.unreadable)
    assert second.run_id == "run-1"
    assert store.of_run("run-1") == [first, second]


def test_the_newest_audit_of_a_window_counts(store: AuditStore) -> None:
    store.append(audit(window(0, Finding.LATE, missing=5), window(1)), "run-1")
    store.append(audit(window(0)), "run-2")

    assert [row.finding for row in store.newest(NAME, ALWAYS)] == [Finding.EQUAL, Finding.EQUAL]
    assert store.newest(NAME, Interval(NOON + HOUR, NOON + 2 * HOUR))[0].run_id == "run-1"


def test_earlier_audits_say_since_when_a_source_held_rows(store: AuditStore) -> None:
    assert store.source_bounds(NAME, UUID) == SourceBounds(None, None)

    store.append(audit(window(-1, rows=0), window(0), held_since=NOON - 9 * HOUR), "run-1")
    store.append(audit(window(3), held_since=NOON - 10 * HOUR), "run-2")

    assert store.source_bounds(NAME, UUID) == SourceBounds(NOON, NOON - 9 * HOUR)
    assert store.source_bounds(NAME, UUID.replace("4", "5")) == SourceBounds(None, None)


def test_old_audits_are_deleted_except_the_newest_one_of_a_difference(store: AuditStore) -> None:
    store.append(audit(window(0), window(1, Finding.LOST), window(2, Finding.LATE)), "old")
    store.append(audit(window(2), at=NOON + HOUR), "new")

    assert store.delete_old(NOON + HOUR) == 2

    assert [row.run_id for row in store.newest(NAME, ALWAYS)] == ["old", "new"]
    assert store.delete_old(NOON + HOUR) == 0


def test_pipelines_do_not_see_each_other(store: AuditStore, session: LedgerConnection) -> None:
    store.append(audit(window(0)), "run-1")

    other = AuditStore(session, "another")
    assert other.newest(NAME, ALWAYS) == []
    assert other.delete_old(NOON + HOUR) == 0


def test_a_ledger_of_an_older_version_says_what_to_do(session: LedgerConnection, store: AuditStore) -> None:
    with session.transaction(force_rollback=True):
        session.execute("ALTER TABLE offload_audits RENAME TO offload_audits_hidden")

        with pytest.raises(RunInit, match="offload init"):
            store.newest(NAME, ALWAYS)
