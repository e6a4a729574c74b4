"""What maintenance did to each table, in PostgreSQL (`offload_maintenance`, append-only)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from offload_core.ledger.session import LedgerConnection, ledger_errors
from offload_core.maintenance import MaintenanceStep, TableStats
from offload_core.protocol.window import Interval

_COLUMNS = "table_name, run_id, attempt, created_at, seconds, figures_before, figures_after, steps"
_INSERT = (
    "INSERT INTO offload_maintenance "
    "(pipeline_id, table_name, run_id, attempt, seconds, figures_before, figures_after, steps) "
    "VALUES (%(pipeline)s, %(table)s, %(run_id)s, %(attempt)s, %(seconds)s, %(before)s, %(after)s, %(steps)s)"
)
_NEWEST = (
    f"SELECT DISTINCT ON (table_name) {_COLUMNS} FROM offload_maintenance "  # noqa: S608 - constants only
    "WHERE pipeline_id = %(pipeline)s ORDER BY table_name, id DESC"
)
_SINCE = (
    f"SELECT {_COLUMNS} FROM offload_maintenance "  # noqa: S608 - constants only
    "WHERE pipeline_id = %(pipeline)s AND created_at >= %(moment)s ORDER BY id"
)
_SUMMARY = (
    "SELECT table_name, count(*) AS runs, max(created_at) AS last, "
    "(array_agg(figures_before ORDER BY id))[1] AS before, (array_agg(figures_after ORDER BY id DESC))[1] AS after "
    "FROM offload_maintenance "
    "WHERE pipeline_id = %(pipeline)s AND created_at >= %(start)s AND created_at < %(end)s GROUP BY table_name"
)


@dataclass(frozen=True)
class MaintenanceRecord:
    """One maintenance of one table.

    Attributes:
        table: its short name.
        run_id, attempt: the run that did it.
        created_at: when it ended (UTC).
        seconds: how long all of it took.
        before, after: the table's stats.
        steps: what was done in between.
    """

    table: str
    run_id: str
    attempt: int
    created_at: datetime
    seconds: float
    before: TableStats
    after: TableStats
    steps: tuple[MaintenanceStep, ...]


class MaintenanceLog:
    """The maintenance of one pipeline's tables, over one PostgreSQL session that the caller opens and closes.

    Every method raises RunInit if the table does not exist, and LedgerUnavailable if the session breaks.
    """

    def __init__(self, connection: LedgerConnection, pipeline: str) -> None:
        self._connection = connection
        self._pipeline = pipeline

    def append(
        self,
        table: str,
        *,
        run_id: str,
        attempt: int,
        seconds: float,
        before: TableStats,
        after: TableStats,
        steps: Sequence[MaintenanceStep],
    ) -> None:
        """Add what was done to a table."""
        values = {
            "pipeline": self._pipeline,
            "table": table,
            "run_id": run_id,
            "attempt": attempt,
            "seconds": seconds,
            "before": Jsonb(before.to_json()),
            "after": Jsonb(after.to_json()),
            "steps": Jsonb([asdict(step) for step in steps]),
        }
        with ledger_errors():
            self._connection.execute(_INSERT, values)

    def newest(self) -> dict[str, MaintenanceRecord]:
        """The newest maintenance of each table, by its name."""
        with ledger_errors():
            records = self._connection.execute(_NEWEST, {"pipeline": self._pipeline}).fetchall()
        return {record["table_name"]: _record(record) for record in records}

    def since(self, moment: datetime) -> list[MaintenanceRecord]:
        """All maintenance from a moment (zone-aware) on, oldest first."""
        with ledger_errors():
            records = self._connection.execute(_SINCE, {"pipeline": self._pipeline, "moment": moment}).fetchall()
        return [_record(record) for record in records]

    def summary(self, period: Interval) -> list[dict[str, Any]]:
        """Per table: `runs` in a period, the `last` one's end, the stats `before` the first and `after` the last."""
        values = {"pipeline": self._pipeline, "start": period.start, "end": period.end}
        with ledger_errors():
            return self._connection.execute(_SUMMARY, values).fetchall()


def _record(record: dict[str, Any]) -> MaintenanceRecord:
    return MaintenanceRecord(
        table=record["table_name"],
        run_id=record["run_id"],
        attempt=record["attempt"],
        created_at=record["created_at"],
        seconds=record["seconds"],
        before=TableStats.from_json(record["figures_before"]),
        after=TableStats.from_json(record["figures_after"]),
        steps=tuple(MaintenanceStep(**step) for step in record["steps"]),
    )
