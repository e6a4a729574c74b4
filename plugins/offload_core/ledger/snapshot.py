"""One look at the ledger's database: what metrics and pages tell, of one moment. Reads only; times are UTC, by PostgreSQL's clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from offload_core.config.connections import PostgresConnection
from offload_core.ledger.cycle_time import LONGEST_PAUSE, Job, StepRow
from offload_core.ledger.maintenance_log import MaintenanceLog
from offload_core.ledger.session import LedgerConnection, connect, ledger_errors
from offload_core.ledger.tables import TableRegister
from offload_core.maintenance import Figures
from offload_core.protocol.window import ORIGIN

AUDITS_SPAN = timedelta(days=7)
"""How far back the audits' results are told; what needs a person stays visible for a week after its last audit."""
OVERLAP = timedelta(minutes=10)
"""Rows are looked at again for this long: one with a lower id may become visible after one with a higher id."""

_VALID = "status IN ('initialized', 'success')"
_AHEAD = "('increment', 'empty', 'recovered')"
"""Kinds of steps that read past the watermark; `repair` and `restate` work behind it."""

# The tables' names by the index, one step each, instead of all of the history's rows.
_NAMES = """
WITH RECURSIVE names AS (
    (SELECT table_name FROM offload_watermarks WHERE pipeline_id = %(pipeline)s ORDER BY table_name LIMIT 1)
    UNION ALL
    SELECT (SELECT w.table_name FROM offload_watermarks w WHERE w.pipeline_id = %(pipeline)s AND w.table_name > names.table_name
            ORDER BY w.table_name LIMIT 1)
    FROM names WHERE names.table_name IS NOT NULL
)
"""


def _newest(columns: str, condition: str, order: str = "DESC") -> str:
    return (
        f"LEFT JOIN LATERAL (SELECT {columns} FROM offload_watermarks w WHERE w.pipeline_id = %(pipeline)s "  # noqa: S608 - constants only
        f"AND w.table_name = names.table_name AND {condition} ORDER BY w.id {order} LIMIT 1)"
    )


_TABLES = f"""
{_NAMES}
SELECT names.table_name, first.created_at AS first_row, success.last_successful_run AS last_success, valid.max_timestamp AS watermark,
    cold.total_records AS cold_rows, CASE WHEN ahead.id > coalesce(chosen.id, 0) THEN ahead.window_upper END AS read_until,
    newest.failure_count,
    CASE WHEN standing.status = 'halted' THEN standing.error_kind END AS halted,
    ahead.run_id AS last_run
FROM names
{_newest("created_at", "true", "ASC")} first ON true
{_newest("failure_count", "true")} newest ON true
{_newest("last_successful_run", "last_successful_run IS NOT NULL")} success ON true
{_newest("max_timestamp", _VALID)} valid ON true
{_newest("total_records", "total_records IS NOT NULL")} cold ON true
{_newest("id, window_upper, run_id", f"status = 'success' AND kind IN {_AHEAD} AND window_upper IS NOT NULL")} ahead ON true
{_newest("id", "kind IN ('init', 'reset', 'resume')")} chosen ON true
{_newest("status, error_kind", "status <> 'failed'")} standing ON true
WHERE names.table_name IS NOT NULL
"""  # noqa: S608 - constants only

_CHUNKS = (
    "SELECT table_name, count(*) AS chunks, sum(row_count)::bigint AS rows, min(window_lower) AS lower FROM offload_watermarks "
    "WHERE pipeline_id = %(pipeline)s "
    "AND (table_name, run_id) IN (SELECT * FROM unnest(%(tables)s::text[], %(runs)s::text[])) AND status = 'success' "
    "AND kind = 'increment' AND created_at >= %(yesterday)s GROUP BY table_name"
)
_STEPS = (
    "SELECT id, table_name, created_at, kind, error_kind, row_count, run_id, coalesce(last_run_duration_seconds, 0) AS seconds "
    "FROM offload_watermarks WHERE pipeline_id = %(pipeline)s AND created_at >= %(since)s ORDER BY id"
)
_JOBS = (
    "SELECT application_name, backend_start FROM pg_stat_activity WHERE datname = current_database() "
    "AND application_name LIKE 'offload %%' AND backend_start IS NOT NULL"
)
_AUDITS = (
    "SELECT table_name, finding, count(*) AS windows, sum(missing_rows)::bigint AS missing, sum(surplus_rows)::bigint AS surplus, "
    "sum(changed_rows)::bigint AS changed, sum(duplicate_rows)::bigint AS duplicate, max(audited_at) AS audited_at "
    "FROM (SELECT DISTINCT ON (table_name, window_start, window_end) * FROM offload_audits WHERE pipeline_id = %(pipeline)s "
    "AND audited_at >= %(since)s ORDER BY table_name, window_start, window_end, id DESC) newest GROUP BY table_name, finding"
)


@dataclass(frozen=True)
class TableFigures:
    """Where one table stands.

    Attributes:
        first_row: when the ledger first heard of it; the lag of a table that was never offloaded counts from here.
        last_success: when it was last offloaded with success; None: never.
        watermark: the newest timestamp that is in Iceberg, or that an operator set; None while it is the first one, 1970.
        read_until: up to where runs have read since then; None: not yet.
        cold_rows: rows of the Iceberg table after the newest commit; None before the first.
        failures: failed attempts since the last success.
        halted: the kind of error that stopped it; None where it is not stopped.
        last_run: the run that read past its watermark last; None: none yet.
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
    """The windows of one table whose newest audit of the last week found the same, and the rows that differ in them."""

    table: str
    finding: str
    windows: int
    rows: Mapping[str, int]
    audited_at: datetime


@dataclass(frozen=True)
class MaintenanceState:
    """One table's newest maintenance."""

    table: str
    at: datetime
    figures: Figures


@dataclass(frozen=True)
class Reading:
    """What the database said at the moment `now`; `steps` are all rows from `steps_since` on, oldest first."""

    now: datetime
    steps_since: datetime
    tables: Sequence[TableFigures]
    steps: Sequence[StepRow]
    jobs: Sequence[Job]
    audits: Sequence[AuditState]
    maintenance: Sequence[MaintenanceState]


@contextmanager
def one_moment(postgres: PostgresConnection, name: str, timeout_seconds: float) -> Iterator[LedgerConnection]:
    """A session in which everything that is read is of one moment, and nothing can be written.

    Args:
        postgres: the ledger's database.
        name: how the session shows in `pg_stat_activity`.
        timeout_seconds: the longest that one question may take.

    Raises:
        LedgerUnavailable, FixCredentials, RunInit: as the ledger does; the message says what to do.
    """
    with closing(connect(postgres, name)) as session, ledger_errors():
        session.execute("SELECT set_config('statement_timeout', %s, false)", (str(round(timeout_seconds * 1000)),))
        session.execute("SET default_transaction_isolation = 'repeatable read'")
        session.execute("SET default_transaction_read_only = on")
        with session.transaction():
            yield session


class Reader:
    """Looks at one pipeline's ledger, each time over a session of its own, so that no restart of PostgreSQL outlives the next look."""

    def __init__(
        self, postgres: PostgresConnection, pipeline: str, tables: Set[str] | None, timeout_seconds: float
    ) -> None:
        self._postgres = postgres
        self._pipeline = pipeline
        self._tables = tables
        self._timeout_seconds = timeout_seconds
        self._steps_from: datetime | None = None
        self._switched_off: set[str] = set()

    def read(self) -> Reading:
        """Look now.

        Raises:
            LedgerUnavailable, FixCredentials, RunInit: as the ledger does; the message says what to do.
        """
        with one_moment(self._postgres, "offload exporter", self._timeout_seconds) as session:
            reading = self.read_in(session)
        self._steps_from = reading.now
        return reading

    def read_in(self, session: LedgerConnection) -> Reading:
        """The same in a session that the caller opened with `one_moment`, and reads more from."""
        (moment,) = session.execute("SELECT clock_timestamp() AS now").fetchall()
        now: datetime = moment["now"]
        register = TableRegister(session, self._pipeline)
        self._switched_off = register.switched_off() if _exists(session, "offload_tables") else set()
        # As far back as the last look, or as one cycle reaches, whatever is longer.
        since = min(now - LONGEST_PAUSE * 6, (self._steps_from or now) - OVERLAP)
        scope: dict[str, object] = {"pipeline": self._pipeline, "since": since}
        states = session.execute(_TABLES, scope).fetchall()
        # A cleared run's earlier execution is not part of what it does now.
        runs: dict[str, object] = {"yesterday": now - timedelta(days=1)}
        runs |= {"tables": [row["table_name"] for row in states], "runs": [row["last_run"] for row in states]}
        chunks = {row["table_name"]: row for row in session.execute(_CHUNKS, {**scope, **runs}).fetchall()}
        steps = [StepRow(**row) for row in session.execute(_STEPS, scope).fetchall()]
        jobs = [Job(row["application_name"], row["backend_start"]) for row in session.execute(_JOBS).fetchall()]
        return Reading(
            now=now,
            steps_since=since,
            tables=[_table(row, chunks.get(row["table_name"])) for row in states if self._tells_of(row["table_name"])],
            steps=[step for step in steps if self._tells_of(step.table_name)],
            jobs=jobs,
            audits=self._audits(session, now),
            maintenance=self._maintenance(session),
        )

    def _audits(self, session: LedgerConnection, now: datetime) -> list[AuditState]:
        if not _exists(session, "offload_audits"):
            return []
        rows = session.execute(_AUDITS, {"pipeline": self._pipeline, "since": now - AUDITS_SPAN}).fetchall()
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
            if self._tells_of(row["table_name"])
        ]

    def _maintenance(self, session: LedgerConnection) -> list[MaintenanceState]:
        if not _exists(session, "offload_maintenance"):
            return []
        newest = MaintenanceLog(session, self._pipeline).newest().values()
        return [
            MaintenanceState(record.table, record.created_at, record.after)
            for record in newest
            if self._tells_of(record.table)
        ]

    def _tells_of(self, table: str) -> bool:
        return table not in self._switched_off if self._tables is None else table in self._tables


def _exists(session: LedgerConnection, table: str) -> bool:
    """Whether a table is there; a ledger that an older version made may lack the newer ones."""
    row = session.execute("SELECT to_regclass(%s) IS NOT NULL AS found", (table,)).fetchone()
    return bool(row and row["found"])


def _table(row: Mapping[str, Any], chunks: Mapping[str, Any] | None) -> TableFigures:
    return TableFigures(
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
