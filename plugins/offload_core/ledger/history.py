"""What the ledger holds of a period, for reports and the status page. All times are UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from offload_core.ledger.reader import LedgerReader
from offload_core.ledger.rows import OFFLOADED_KINDS, LedgerRow, RowStatus, sql_list
from offload_core.ledger.session import LedgerConnection, ledger_errors
from offload_core.protocol.window import Interval


@dataclass(frozen=True)
class TableAtStart:
    """A table when a period began: its last success, and the rows that it had in Iceberg."""

    last_successful_run: datetime | None
    total_records: int | None


@dataclass(frozen=True)
class Halt:
    """A table is halted until an operator resumes it."""

    since: datetime
    reason: str


@dataclass(frozen=True)
class LedgerHistory:
    """What the ledger holds of a period.

    Attributes:
        rows: the period's rows, oldest first.
        at_start: each table's state when the period began; no table that did not exist then.
        since: when each table's oldest row was written.
        cleaned: the tables whose older rows the maintenance has deleted.
        rows_before: rows offloaded in the period of the same length before; no table whose ledger rows do not reach
            back so far.
        halts: the tables that are halted now.
    """

    rows: Sequence[LedgerRow]
    at_start: Mapping[str, TableAtStart]
    since: Mapping[str, datetime]
    cleaned: Set[str]
    rows_before: Mapping[str, int]
    halts: Mapping[str, Halt]


_SCOPE = "FROM offload_watermarks WHERE pipeline_id = %(pipeline)s"
_AT_START = (
    "SELECT table_name, max(last_successful_run) AS last_successful_run, "
    "(array_agg(total_records ORDER BY id DESC) FILTER (WHERE total_records IS NOT NULL))[1] AS total_records "
    f"{_SCOPE} AND created_at < %(start)s GROUP BY table_name"
)
# A table's very first row follows no other: where the oldest one does, older ones have been deleted.
_OLDEST = (
    "SELECT DISTINCT ON (table_name) table_name, created_at, started_from IS NOT NULL AS is_cleaned "
    f"{_SCOPE} ORDER BY table_name, id"
)
_ROWS_BEFORE = (
    f"SELECT table_name, sum(row_count)::bigint AS rows {_SCOPE} "
    "AND created_at >= %(earlier)s AND created_at < %(start)s "
    f"AND status = '{RowStatus.SUCCESS.value}' AND kind IN {sql_list(OFFLOADED_KINDS)} GROUP BY table_name"
)


def read_ledger(session: LedgerConnection, pipeline: str, period: Interval) -> LedgerHistory:
    """Read what the ledger of a pipeline holds of a period.

    Raises:
        RunInit: there is no ledger.
        LedgerUnavailable: PostgreSQL cannot be reached.
    """
    earlier = period.start - (period.end - period.start)
    values = {"pipeline": pipeline, "start": period.start, "earlier": earlier}
    reader = LedgerReader(session, pipeline)

    def records(query: str) -> list[dict[str, Any]]:
        return session.execute(query, values).fetchall()

    with ledger_errors():
        oldest = records(_OLDEST)
        sums: dict[str, int] = {record["table_name"]: record["rows"] for record in records(_ROWS_BEFORE)}
        at_start = {
            record["table_name"]: TableAtStart(record["last_successful_run"], record["total_records"])
            for record in records(_AT_START)
        }
    rows, halts = reader.rows_of_period(period), reader.halts()
    since: dict[str, datetime] = {record["table_name"]: record["created_at"] for record in oldest}
    return LedgerHistory(
        rows=rows,
        at_start=at_start,
        since=since,
        cleaned=frozenset(record["table_name"] for record in oldest if record["is_cleaned"]),
        rows_before={table: sums.get(table, 0) for table, first in since.items() if first <= earlier},
        halts={table: Halt(row.created_at, row.last_error_message or "") for table, row in halts.items()},
    )
