"""The results of audits in PostgreSQL (`offload_audits`, append-only); `offload_ops.audit.store` interprets them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg

from offload_core.errors import RunInit
from offload_core.ledger.session import LedgerConnection, ledger_errors
from offload_core.protocol.window import Interval

Record = dict[str, Any]
"""One record of a query, by column names."""

VALUES = (
    "window_start",
    "window_end",
    "compared_from",
    "compared_to",
    "hot_rows",
    "hot_hash",
    "cold_rows",
    "cold_hash",
    "finding",
    "missing_rows",
    "surplus_rows",
    "changed_rows",
    "duplicate_rows",
    "unreadable",
    "explanation",
    "fingerprint",
    "cold_source",
    "snapshot_id",
    "source_uuid",
    "held_since",
    "audited_at",
    "run_id",
)
"""The columns of a record, besides the table's name."""
_COLUMNS = ", ".join(("table_name", *VALUES, "created_at"))

_INSERT = (
    f"INSERT INTO offload_audits (pipeline_id, table_name, {', '.join(VALUES)}) "  # noqa: S608 - constants only
    f"VALUES (%(pipeline)s, %(table)s, {', '.join(f'%({name})s' for name in VALUES)})"
)
_NEWEST = (
    f"SELECT DISTINCT ON (window_start, window_end) {_COLUMNS} FROM offload_audits "  # noqa: S608 - constants only
    "WHERE pipeline_id = %(pipeline)s AND table_name = %(table)s "
    "AND window_start >= %(start)s AND window_start < %(end)s ORDER BY window_start, window_end, id DESC"
)
_OF_RUN = (
    f"SELECT {_COLUMNS} FROM offload_audits "  # noqa: S608 - constants only
    "WHERE pipeline_id = %(pipeline)s AND run_id = %(run_id)s ORDER BY table_name, window_start, id"
)
_HELD = (
    "SELECT min(compared_from) FILTER (WHERE hot_rows > 0) AS first, max(held_since) AS since FROM offload_audits "
    "WHERE pipeline_id = %(pipeline)s AND table_name = %(table)s AND source_uuid = %(source)s"
)
# A difference stays visible until a newer audit of its window has replaced it.
_DELETE_OLD = (
    "DELETE FROM offload_audits old WHERE pipeline_id = %(pipeline)s AND audited_at < %(before)s "
    "AND (finding = 'equal' OR EXISTS (SELECT 1 FROM offload_audits newer WHERE newer.pipeline_id = old.pipeline_id "
    "AND newer.table_name = old.table_name AND newer.window_start = old.window_start "
    "AND newer.window_end = old.window_end AND newer.id > old.id))"
)

_DIFFERING_ROWS = (
    "sum(missing_rows)::bigint AS missing, sum(surplus_rows)::bigint AS surplus, "
    "sum(changed_rows)::bigint AS changed, sum(duplicate_rows)::bigint AS duplicate"
)


def _newest_of_windows(condition: str) -> str:
    return (
        "(SELECT DISTINCT ON (table_name, window_start, window_end) * FROM offload_audits "  # noqa: S608
        f"WHERE pipeline_id = %(pipeline)s AND {condition} "
        "ORDER BY table_name, window_start, window_end, id DESC) AS newest"
    )


_FINDINGS = (
    f"SELECT table_name, finding, count(*) AS windows, {_DIFFERING_ROWS}, max(audited_at) AS audited_at "  # noqa: S608
    f"FROM {_newest_of_windows('audited_at >= %(since)s')} GROUP BY table_name, finding"
)
_PERIOD = "audited_at >= %(start)s AND audited_at < %(end)s"
_WINDOWS = "count(DISTINCT (window_start, window_end))"
_SUMMARY = (
    f"SELECT table_name, {_WINDOWS} AS windows, max(audited_at) AS last, "  # noqa: S608 - constants only
    + ", ".join(
        f"{_WINDOWS} FILTER (WHERE finding = '{finding}') AS {finding}"
        for finding in ("late", "changed", "surplus", "lost")
    )
    + f" FROM offload_audits WHERE pipeline_id = %(pipeline)s AND {_PERIOD} GROUP BY table_name"
)
_DIFFERING = (
    "SELECT table_name, count(*) AS windows, "  # noqa: S608 - constants only
    "sum(missing_rows + surplus_rows + changed_rows + duplicate_rows)::bigint AS rows "
    f"FROM {_newest_of_windows(_PERIOD)} WHERE finding <> 'equal' GROUP BY table_name"
)


class AuditLog:
    """The audits of one pipeline, over one PostgreSQL session that the caller opens and closes.

    Every method raises LedgerUnavailable, FixCredentials, or RunInit where the table is missing.
    """

    def __init__(self, session: LedgerConnection, pipeline: str) -> None:
        self._session = session
        self._pipeline = pipeline

    def append(self, table: str, records: Sequence[Mapping[str, object]]) -> None:
        """Add an audit's results in a table's windows, all or none; each record has the columns of `VALUES`."""
        scope = {"pipeline": self._pipeline, "table": table}
        with _audit_errors(), self._session.transaction(), self._session.cursor() as cursor:
            cursor.executemany(_INSERT, [{**record, **scope} for record in records])

    def newest(self, table: str, span: Interval) -> list[Record]:
        """The newest record of each window of a table that starts inside a span, in order of time."""
        return self._select(_NEWEST, table=table, start=span.start, end=span.end)

    def of_run(self, run_id: str) -> list[Record]:
        """The records of one run, table by table in order of time."""
        return self._select(_OF_RUN, run_id=run_id)

    def held(self, table: str, source_uuid: str) -> Record:
        """What is known of a table's source in ClickHouse.

        Returns:
            `first`: the earliest start of a compared part in which it held rows; `since`: the latest moment from which
                on it had to
            hold every row. Both may be None.
        """
        (record,) = self._select(_HELD, table=table, source=source_uuid)
        return record

    def findings(self, since: datetime) -> list[Record]:
        """Per table and finding: the windows whose newest audit since a moment has it, and the differing rows."""
        return self._select(_FINDINGS, since=since)

    def summary(self, period: Interval) -> list[Record]:
        """Per table: the windows audited in a period, the last audit's time, and how many windows had each finding."""
        return self._select(_SUMMARY, start=period.start, end=period.end)

    def differing(self, period: Interval) -> list[Record]:
        """Per table: the windows that still differed when a period ended, and the rows that differed in them."""
        return self._select(_DIFFERING, start=period.start, end=period.end)

    def delete_old(self, before: datetime) -> int:
        """Delete audits older than a moment (zone-aware), except a difference that no newer audit has replaced.

        Returns how many.
        """
        with _audit_errors():
            return self._session.execute(_DELETE_OLD, {"pipeline": self._pipeline, "before": before}).rowcount

    def _select(self, query: str, **values: object) -> list[Record]:
        with _audit_errors():
            return self._session.execute(query, {"pipeline": self._pipeline, **values}).fetchall()


@contextmanager
def _audit_errors() -> Iterator[None]:
    with ledger_errors():
        try:
            yield
        except psycopg.errors.UndefinedTable as error:
            raise RunInit(
                "The table offload_audits does not exist in the ledger's database.",
                "Run `offload init`; it adds what a newer version needs and changes nothing else.",
            ) from error
