"""A snapshot of the ledger's database, which metrics and pages are made from.

Only reads; times are UTC, by PostgreSQL's clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from offload_core.config.connections import PostgresConnection
from offload_core.ledger.audit_log import AuditLog
from offload_core.ledger.cycle_time import LONGEST_PAUSE, Job
from offload_core.ledger.maintenance_log import MaintenanceLog
from offload_core.ledger.reader import NOT_FAILED, LedgerReader
from offload_core.ledger.rows import AHEAD_KINDS, POSITION_KINDS, VALID_ROWS, LedgerRow, RowStatus, StepKind, sql_list
from offload_core.ledger.session import LedgerConnection, connect, ledger_errors, table_exists
from offload_core.ledger.tables import TableRegister
from offload_core.maintenance import TableStats
from offload_core.protocol.window import ORIGIN

AUDITS_SPAN = timedelta(days=7)
"""How far back the audits' results are shown; a difference stays visible for a week after its last audit."""
OVERLAP = timedelta(minutes=10)
"""Rows are read again for this long: one with a lower id may become visible after one with a higher id."""

# The tables' names by one index look-up each; DISTINCT would read the whole history.
_NAMES = """
WITH RECURSIVE names AS (
    (SELECT table_name FROM offload_watermarks WHERE pipeline_id = %(pipeline)s ORDER BY table_name LIMIT 1)
    UNION ALL
    SELECT (SELECT w.table_name FROM offload_watermarks w
            WHERE w.pipeline_id = %(pipeline)s AND w.table_name > names.table_name ORDER BY w.table_name LIMIT 1)
    FROM names WHERE names.table_name IS NOT NULL
)
"""


def _newest(columns: str, condition: str, order: str = "DESC") -> str:
    return (
        f"LEFT JOIN LATERAL (SELECT {columns} FROM offload_watermarks w "  # noqa: S608 - constants only
        "WHERE w.pipeline_id = %(pipeline)s "
        f"AND w.table_name = names.table_name AND {condition} ORDER BY w.id {order} LIMIT 1)"
    )


_SUCCESS = f"status = '{RowStatus.SUCCESS.value}'"
_READ_AHEAD = f"{_SUCCESS} AND kind IN {sql_list(AHEAD_KINDS)} AND window_upper IS NOT NULL"
_TABLES = f"""
{_NAMES}
SELECT
    names.table_name,
    first.created_at AS first_row,
    success.last_successful_run AS last_success,
    valid.max_timestamp AS watermark,
    cold.total_records AS cold_rows,
    CASE WHEN ahead.id > coalesce(chosen.id, 0) THEN ahead.window_upper END AS read_until,
    newest.failure_count,
    CASE WHEN standing.status = '{RowStatus.HALTED.value}' THEN standing.error_kind END AS halted,
    ahead.run_id AS last_run
FROM names
{_newest("created_at", "true", "ASC")} first ON true
{_newest("failure_count", "true")} newest ON true
{_newest("last_successful_run", "last_successful_run IS NOT NULL")} success ON true
{_newest("max_timestamp", VALID_ROWS)} valid ON true
{_newest("total_records", "total_records IS NOT NULL")} cold ON true
{_newest("id, window_upper, run_id", _READ_AHEAD)} ahead ON true
{_newest("id", f"kind IN {sql_list(POSITION_KINDS)}")} chosen ON true
{_newest("status, error_kind", NOT_FAILED)} standing ON true
WHERE names.table_name IS NOT NULL
"""  # noqa: S608 - constants only

_CHUNKS = (
    "SELECT table_name, count(*) AS chunks, sum(row_count)::bigint AS rows, min(window_lower) AS lower "  # noqa: S608
    "FROM offload_watermarks WHERE pipeline_id = %(pipeline)s "
    "AND (table_name, run_id) IN (SELECT * FROM unnest(%(tables)s::text[], %(runs)s::text[])) "
    f"AND {_SUCCESS} AND kind = '{StepKind.INCREMENT.value}' AND created_at >= %(yesterday)s GROUP BY table_name"
)
_JOBS = (
    "SELECT application_name, backend_start FROM pg_stat_activity WHERE datname = current_database() "
    "AND application_name LIKE 'offload %%' AND backend_start IS NOT NULL"
)


@dataclass(frozen=True)
class TableMetrics:
    """The state of one table.

    Attributes:
        first_row: when its first ledger row was written; the lag of a table that was never offloaded counts from here.
        last_success: when it was last offloaded with success; None: never.
        watermark: the newest timestamp that is in Iceberg, or that an operator set; None while it is the first one,
            1970.
        read_until: up to where runs have read since an operator set the watermark; None: not yet.
        cold_rows: rows of the Iceberg table after the newest commit; None before the first.
        failures: failed attempts since the last success.
        halted: the kind of error that halted it; None if it is not halted.
        last_run: the last run that read past its watermark; None: none yet.
        chunks, run_rows: commits and rows of that run.
        run_from: where that run began to read; None before its first commit.
    """

    table: str
    first_row: datetime
    last_success: datetime | None
    watermark: datetime | None
    read_until: datetime | None
    cold_rows: int | None
    failures: int
    halted: str | None
    chunks: int
    run_rows: int
    last_run: str | None = None
    run_from: datetime | None = None


@dataclass(frozen=True)
class AuditState:
    """The windows of one table whose newest audit of the last week has a finding, and the differing rows."""

    table: str
    finding: str
    windows: int
    rows: Mapping[str, int]
    audited_at: datetime


@dataclass(frozen=True)
class MaintenanceState:
    """The newest maintenance of one table."""

    table: str
    at: datetime
    figures: TableStats


@dataclass(frozen=True)
class LedgerSnapshot:
    """What the database held at the moment `now`; `steps` are all rows from `steps_since` on, oldest first."""

    now: datetime
    steps_since: datetime
    tables: Sequence[TableMetrics]
    steps: Sequence[LedgerRow]
    jobs: Sequence[Job]
    audits: Sequence[AuditState]
    maintenance: Sequence[MaintenanceState]


@contextmanager
def one_moment(postgres: PostgresConnection, name: str, timeout_seconds: float) -> Iterator[LedgerConnection]:
    """A session that sees the database as it is at one moment, and cannot write.

    Args:
        postgres: the ledger's database.
        name: the session's name in `pg_stat_activity`.
        timeout_seconds: the longest time that one query may take.

    Raises:
        LedgerUnavailable, FixCredentials, RunInit: the database cannot be read; the message says what to do.
    """
    with closing(connect(postgres, name)) as session, ledger_errors():
        session.execute("SELECT set_config('statement_timeout', %s, false)", (str(round(timeout_seconds * 1000)),))
        session.execute("SET default_transaction_isolation = 'repeatable read'")
        session.execute("SET default_transaction_read_only = on")
        with session.transaction():
            yield session


class SnapshotReader:
    """Takes snapshots of a pipeline's ledger, each over its own session, so that it outlives restarts of PostgreSQL."""

    def __init__(
        self, postgres: PostgresConnection, pipeline: str, tables: Set[str] | None, timeout_seconds: float
    ) -> None:
        self._postgres = postgres
        self._pipeline = pipeline
        self._tables = tables
        self._timeout_seconds = timeout_seconds
        self._steps_from: datetime | None = None
        self._switched_off: set[str] = set()

    def read(self) -> LedgerSnapshot:
        """Take a snapshot now.

        Raises:
            LedgerUnavailable, FixCredentials, RunInit: the database cannot be read; the message says what to do.
        """
        with one_moment(self._postgres, "offload exporter", self._timeout_seconds) as session:
            snapshot = self.read_in(session)
        self._steps_from = snapshot.now
        return snapshot

    def read_in(self, session: LedgerConnection) -> LedgerSnapshot:
        """Take a snapshot in a session of `one_moment`, from which the caller reads more of the same moment."""
        (moment,) = session.execute("SELECT clock_timestamp() AS now").fetchall()
        now: datetime = moment["now"]
        register = TableRegister(session, self._pipeline)
        self._switched_off = register.switched_off() if table_exists(session, "offload_tables") else set()
        # As far back as the previous snapshot, but at least as far as one cycle reaches.
        since = min(now - LONGEST_PAUSE * 6, (self._steps_from or now) - OVERLAP)
        scope: dict[str, object] = {"pipeline": self._pipeline}
        states = session.execute(_TABLES, scope).fetchall()
        # A cleared run's earlier execution is not part of what it does now.
        runs: dict[str, object] = {"yesterday": now - timedelta(days=1)}
        runs |= {"tables": [row["table_name"] for row in states], "runs": [row["last_run"] for row in states]}
        chunks = {row["table_name"]: row for row in session.execute(_CHUNKS, {**scope, **runs}).fetchall()}
        steps = LedgerReader(session, self._pipeline).rows_since(since)
        jobs = [Job(row["application_name"], row["backend_start"]) for row in session.execute(_JOBS).fetchall()]
        return LedgerSnapshot(
            now=now,
            steps_since=since,
            tables=[_table(row, chunks.get(row["table_name"])) for row in states if self._includes(row["table_name"])],
            steps=[step for step in steps if self._includes(step.table_name)],
            jobs=jobs,
            audits=self._audits(session, now),
            maintenance=self._maintenance(session),
        )

    def _audits(self, session: LedgerConnection, now: datetime) -> list[AuditState]:
        if not table_exists(session, "offload_audits"):
            return []
        rows = AuditLog(session, self._pipeline).findings(now - AUDITS_SPAN)
        differences = ("missing", "surplus", "changed", "duplicate")
        return [
            AuditState(
                row["table_name"],
                row["finding"],
                row["windows"],
                {difference: row[difference] for difference in differences},
                row["audited_at"],
            )
            for row in rows
            if self._includes(row["table_name"])
        ]

    def _maintenance(self, session: LedgerConnection) -> list[MaintenanceState]:
        if not table_exists(session, "offload_maintenance"):
            return []
        newest = MaintenanceLog(session, self._pipeline).newest().values()
        return [
            MaintenanceState(record.table, record.created_at, record.after)
            for record in newest
            if self._includes(record.table)
        ]

    def _includes(self, table: str) -> bool:
        return table not in self._switched_off if self._tables is None else table in self._tables


def _table(row: Mapping[str, Any], chunks: Mapping[str, Any] | None) -> TableMetrics:
    return TableMetrics(
        table=row["table_name"],
        first_row=row["first_row"],
        last_success=row["last_success"],
        watermark=row["watermark"] if row["watermark"] != ORIGIN.timestamp else None,
        read_until=row["read_until"],
        cold_rows=row["cold_rows"],
        failures=row["failure_count"],
        halted=row["halted"],
        chunks=chunks["chunks"] if chunks else 0,
        run_rows=chunks["rows"] if chunks else 0,
        last_run=row["last_run"],
        run_from=chunks["lower"] if chunks else None,
    )
