"""What maintenance did to each table, in PostgreSQL (`offload_maintenance`, append-only): for the log's readers, metrics and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from offload_core.ledger.session import LedgerConnection, ledger_errors
from offload_core.maintenance import Figures, Step

_COLUMNS = "table_name, run_id, attempt, created_at, seconds, figures_before, figures_after, steps"


@dataclass(frozen=True)
class MaintenanceRecord:
    """One maintenance of one table.

    Attributes:
        table: its short name.
        run_id, attempt: the run that did it.
        created_at: when it was done (UTC).
        seconds: how long all of it took.
        before, after: the table's figures.
        steps: what was done in between.
    """

    table: str
    run_id: str
    attempt: int
    created_at: datetime
    seconds: float
    before: Figures
    after: Figures
    steps: tuple[Step, ...]


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
        before: Figures,
        after: Figures,
        steps: Sequence[Step],
    ) -> None:
        """Add what was done to a table."""
        query = (
            "INSERT INTO offload_maintenance (pipeline_id, table_name, run_id, attempt, seconds, figures_before, figures_after, steps) "
            "VALUES (%(pipeline)s, %(table)s, %(run_id)s, %(attempt)s, %(seconds)s, %(before)s, %(after)s, %(steps)s)"
        )
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
            self._connection.execute(query, values)

    def newest(self) -> dict[str, MaintenanceRecord]:
        """The newest maintenance of each table, by its name."""
        query = (
            f"SELECT DISTINCT ON (table_name) {_COLUMNS} FROM offload_maintenance "  # noqa: S608 - constants only
            "WHERE pipeline_id = %(pipeline)s ORDER BY table_name, id DESC"
        )
        with ledger_errors():
            records = self._connection.execute(query, {"pipeline": self._pipeline}).fetchall()
        return {record["table_name"]: _record(record) for record in records}

    def since(self, moment: datetime) -> list[MaintenanceRecord]:
        """All maintenance from a moment (zone-aware) on, oldest first."""
        query = (
            f"SELECT {_COLUMNS} FROM offload_maintenance "  # noqa: S608 - constants only
            "WHERE pipeline_id = %(pipeline)s AND created_at >= %(moment)s ORDER BY id"
        )
        with ledger_errors():
            records = self._connection.execute(query, {"pipeline": self._pipeline, "moment": moment}).fetchall()
        return [_record(record) for record in records]


def _record(record: dict[str, Any]) -> MaintenanceRecord:
    return MaintenanceRecord(
        table=record["table_name"],
        run_id=record["run_id"],
        attempt=record["attempt"],
        created_at=record["created_at"],
        seconds=record["seconds"],
        before=Figures.from_json(record["figures_before"]),
        after=Figures.from_json(record["figures_after"]),
        steps=tuple(Step(**step) for step in record["steps"]),
    )
