"""What a report is computed from: the ledger's rows of a period, and what Airflow's database knows of it. All times are UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import LedgerConnection, ledger_errors
from offload_core.protocol.window import Interval


@dataclass(frozen=True)
class Entry:
    """A ledger row, as far as a report needs it.

    Attributes:
        last_success: when the table had last been offloaded with success; None: never before.
        total_records: rows of the Iceberg table after this step; None where it published nothing.
    """

    table: str
    at: datetime
    status: str
    kind: str
    rows: int
    last_success: datetime | None
    error_kind: str | None
    total_records: int | None


@dataclass(frozen=True)
class Before:
    """What the rows before a period say of a table: when it had last been offloaded, and how many rows it had in Iceberg."""

    last_success: datetime | None
    total_records: int | None


@dataclass(frozen=True)
class Halt:
    """A table that is stopped until an operator resumes it."""

    since: datetime
    why: str


@dataclass(frozen=True)
class LedgerHistory:
    """What the ledger holds of a period.

    Attributes:
        entries: the period's rows, oldest first.
        before: how each table stood when the period began, if it was there.
        since: each table's oldest row.
        cleaned: the tables whose older rows the maintenance has deleted.
        rows_before: rows offloaded in the time of the same length before the period; no table where the ledger does not reach back so far.
        halts: the tables that are halted now.
    """

    entries: Sequence[Entry]
    before: Mapping[str, Before]
    since: Mapping[str, datetime]
    cleaned: Set[str]
    rows_before: Mapping[str, int]
    halts: Mapping[str, Halt]


@dataclass(frozen=True)
class Cycle:
    """A run of the offload that the scheduler started by itself: when it was due, and its state after all retries."""

    due: datetime
    state: str


@dataclass(frozen=True)
class AirflowHistory:
    """What Airflow knows of a period.

    Attributes:
        due: when the schedule wanted a cycle in the period, oldest first.
        first_due: when the first scheduled cycle of all was due; None if there has been none.
        cycles: the runs for them; those that somebody started by hand or that a backfill added later don't count.
        restarts: when schedulers were started in the period, oldest first; the very first start of all is not among them.
            None: nobody knows.
        up_since: when the scheduler that has been alive longest was started; None: none is alive.
    """

    due: Sequence[datetime]
    first_due: datetime | None
    cycles: Sequence[Cycle]
    restarts: Sequence[datetime] | None
    up_since: datetime | None


OFFLOADED = ("increment", "recovered")
"""The kinds of steps that move new rows."""

_SCOPE = "FROM offload_watermarks WHERE pipeline_id = %(pipeline)s"
_ENTRY = "SELECT table_name, created_at, status, kind, row_count, last_successful_run, error_kind, total_records"
_PERIOD = f"{_ENTRY} {_SCOPE} AND created_at >= %(start)s AND created_at < %(end)s ORDER BY id"
_BEFORE = (
    "SELECT table_name, max(last_successful_run) AS last_success, "
    "(array_agg(total_records ORDER BY id DESC) FILTER (WHERE total_records IS NOT NULL))[1] AS total_records "
    f"{_SCOPE} AND created_at < %(start)s GROUP BY table_name"
)
_OLDEST = f"SELECT DISTINCT ON (table_name) table_name, created_at, started_from IS NOT NULL AS is_rest {_SCOPE} ORDER BY table_name, id"
_ROWS_BEFORE = (
    f"SELECT table_name, sum(row_count)::bigint AS rows {_SCOPE} AND created_at >= %(earlier)s AND created_at < %(start)s "
    "AND status = 'success' AND kind = ANY(%(offloaded)s) GROUP BY table_name"
)


def read_ledger(session: LedgerConnection, pipeline: str, period: Interval) -> LedgerHistory:
    """Read what the ledger of a pipeline holds of a period.

    Raises:
        RunInit: there is no ledger.
        LedgerUnavailable: PostgreSQL can't be reached.
    """
    earlier = period.start - (period.end - period.start)
    values = {
        "pipeline": pipeline,
        "start": period.start,
        "end": period.end,
        "earlier": earlier,
        "offloaded": list(OFFLOADED),
    }

    def rows(query: str) -> list[dict[str, Any]]:
        return session.execute(query, values).fetchall()

    with ledger_errors():
        oldest = rows(_OLDEST)
        sums: dict[str, int] = {row["table_name"]: row["rows"] for row in rows(_ROWS_BEFORE)}
        before = {row["table_name"]: Before(row["last_success"], row["total_records"]) for row in rows(_BEFORE)}
        entries = [_entry(row) for row in rows(_PERIOD)]
    halts = Ledger(session, pipeline).halts()
    since: dict[str, datetime] = {row["table_name"]: row["created_at"] for row in oldest}
    return LedgerHistory(
        entries=entries,
        before=before,
        since=since,
        cleaned=frozenset(row["table_name"] for row in oldest if row["is_rest"]),
        rows_before={table: sums.get(table, 0) for table, first in since.items() if first <= earlier},
        halts={table: Halt(row.created_at, row.last_error_message or "") for table, row in halts.items()},
    )


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(
        table=row["table_name"],
        at=row["created_at"],
        status=row["status"],
        kind=row["kind"],
        rows=row["row_count"],
        last_success=row["last_successful_run"],
        error_kind=row["error_kind"],
        total_records=row["total_records"],
    )
