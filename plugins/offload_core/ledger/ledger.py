"""Writing the ledger in PostgreSQL, the append-only history of watermarks.

Rows are only ever inserted. A row names the row that it followed (`started_from`), and only one valid row may follow
another: of two writers that started from the same watermark, the second gets `StartOver`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from offload_core.errors import LedgerUnavailable, StartOver, WatermarkNotFound
from offload_core.failpoints import Failpoint, reach
from offload_core.ledger.cleanup import delete_old_rows
from offload_core.ledger.ddl import sql_files
from offload_core.ledger.reader import LedgerReader
from offload_core.ledger.rows import (
    BEHIND_KINDS,
    COLUMNS,
    VALID_ROWS,
    LedgerRow,
    RowStatus,
    Step,
    StepKind,
    sql_list,
)
from offload_core.ledger.session import ledger_errors, table_lock
from offload_core.protocol.window import ORIGIN, Cursor

_TABLE = "FROM offload_watermarks WHERE pipeline_id = %(pipeline)s AND table_name = %(table)s"
# Looked up in the whole history, so that an operator's plain INSERT doesn't make the table look as if it had never been
# offloaded.
_LAST_SUCCESS = f"(SELECT max(last_successful_run) {_TABLE})"
_FAILURES = f"(SELECT failure_count {_TABLE} ORDER BY id DESC LIMIT 1)"

_WRITTEN = (
    "max_timestamp",
    "max_sequence_number",
    "status",
    "kind",
    "generation",
    "source_uuid",
    "window_lower",
    "window_upper",
    "row_count",
    "snapshot_id",
    "total_records",
    "run_id",
    "attempt",
    "last_run_duration_seconds",
)
"""The columns whose values a valid row brings along; `_APPEND` works out the others."""

_APPEND = f"""
INSERT INTO offload_watermarks (
    pipeline_id, table_name, started_from, last_successful_run, failure_count, {", ".join(_WRITTEN)}
)
SELECT
    %(pipeline)s,
    %(table)s,
    %(started_from)s,
    -- The lag clock: a run that has read ahead restarts it; an operator's row, and a commit behind the watermark, leave
    -- it as it was.
    CASE
        WHEN %(status)s = '{RowStatus.SUCCESS.value}' AND %(kind)s NOT IN {sql_list(BEHIND_KINDS)}
            THEN clock_timestamp()
        ELSE {_LAST_SUCCESS}
    END,
    -- The failed attempts in a row: a commit behind the watermark says nothing about whether the table gets ahead
    -- again.
    CASE WHEN %(kind)s IN {sql_list(BEHIND_KINDS)} THEN {_FAILURES} ELSE 0 END,
    {", ".join(f"%({name})s" for name in _WRITTEN)}
WHERE
    -- Compare-and-set: nothing valid has followed the row that the writer started from.
    (SELECT max(id) {_TABLE} AND {VALID_ROWS}) IS NOT DISTINCT FROM %(started_from)s
    -- A table that was halted meanwhile takes operators' rows only.
    AND NOT (
        %(status)s = '{RowStatus.SUCCESS.value}'
        AND EXISTS (SELECT 1 {_TABLE} AND status = '{RowStatus.HALTED.value}' AND id > %(started_from)s)
    )
RETURNING {COLUMNS}
"""  # noqa: S608 - constants only

_APPEND_FAILURE = f"""
INSERT INTO offload_watermarks (
    pipeline_id, table_name, max_timestamp, max_sequence_number, status, kind, started_from, generation, source_uuid,
    run_id, attempt, last_successful_run, failure_count, error_kind, last_error_message
)
SELECT
    pipeline_id, table_name, max_timestamp, max_sequence_number, %(status)s, %(kind)s, id, generation, source_uuid,
    %(run_id)s, %(attempt)s, {_LAST_SUCCESS}, {_FAILURES} + 1, %(error_kind)s, %(message)s
{_TABLE} AND {VALID_ROWS}
ORDER BY id DESC
LIMIT 1
"""


class Ledger(LedgerReader):
    """Reads and writes the watermarks of one pipeline, over one PostgreSQL session that the caller opens and closes."""

    def create(self, ddl_folder: Path) -> None:
        """Create the ledger's tables where they are missing, from the `.sql` files of `ddl_folder` in name order."""
        with ledger_errors(), self._connection.transaction():
            # IF NOT EXISTS does not keep two sessions from making the same table at once.
            self._connection.execute("SELECT pg_advisory_xact_lock(hashtext('offload_watermarks'))")
            for path in sql_files(ddl_folder):
                self._connection.execute(path.read_text(encoding="utf-8"))

    def append(self, started_from: LedgerRow, step: Step) -> LedgerRow:
        """Record a successful step that follows `started_from`: a compare-and-set.

        Raises:
            StartOver: another valid row has followed `started_from` already.
        """
        window = step.window
        return self._insert(
            started_from.table_name,
            started_from.id,
            {
                "max_timestamp": step.cursor.timestamp,
                "max_sequence_number": step.cursor.sequence,
                "status": RowStatus.SUCCESS,
                "kind": step.kind,
                "generation": step.generation,
                "source_uuid": step.source_uuid,
                "window_lower": window.lower.timestamp if window else None,
                "window_upper": window.upper if window else None,
                "row_count": step.rows,
                "snapshot_id": step.snapshot_id,
                "total_records": step.total_records,
                "run_id": step.run_id,
                "attempt": step.attempt,
                "last_run_duration_seconds": step.seconds,
            },
        )

    def initialize(self, table: str) -> bool:
        """Give a table its first watermark, 1970. Returns False if it has a history already."""
        if self.newest(table) is not None:
            return False
        self._insert(table, None, self._operator_values(StepKind.INIT, ORIGIN, generation=0, source_uuid=None))
        return True

    def reset(self, table: str, cursor: Cursor) -> LedgerRow:
        """Move a table's watermark to `cursor`, as an operator wants it.

        Rows that are already in Iceberg are not inserted twice.
        """
        newest = self.newest(table)
        valid = self._newest(table, VALID_ROWS)
        return self._insert(
            table,
            valid.id if valid else None,
            self._operator_values(
                StepKind.RESET,
                cursor,
                generation=newest.generation if newest else 0,
                source_uuid=newest.source_uuid if newest else None,
            ),
        )

    def resume(self, table: str) -> LedgerRow:
        """Accept a halted table as it is now: its watermark stays, a replaced source starts a new generation.

        Raises:
            WatermarkNotFound: the table has no watermark to continue from.
        """
        valid = self._newest(table, VALID_ROWS)
        if valid is None:
            raise WatermarkNotFound(table)
        return self._insert(
            table,
            valid.id,
            self._operator_values(StepKind.RESUME, valid.cursor, generation=valid.generation + 1, source_uuid=None),
        )

    def record_failure(
        self, table: str, kind: str, message: str, *, run_id: str, attempt: int, halt: bool = False
    ) -> None:
        """Record a failed attempt, or that the table is halted; the watermark stays where it was.

        A table without any watermark gets no row: there is nothing true to repeat.
        """
        values = {
            **self._scope(table),
            "status": RowStatus.HALTED if halt else RowStatus.FAILED,
            "kind": StepKind.HALT if halt else StepKind.FAILURE,
            "error_kind": kind,
            "message": message,
            "run_id": run_id,
            "attempt": attempt,
        }
        with ledger_errors():
            self._connection.execute(_APPEND_FAILURE, values)

    def clean_up(self, before: datetime) -> int:
        """Delete the pipeline's rows from before a moment (zone-aware) that nothing needs any more.

        Returns how many.
        """
        return delete_old_rows(self._connection, self._pipeline, before)

    def is_alive(self) -> bool:
        """Whether the session, and with it every lock that it holds, still exists."""
        try:
            with ledger_errors():
                self._connection.execute("SELECT 1")
        except LedgerUnavailable:
            return False
        return True

    @contextmanager
    def locked(self, table: str, wait_seconds: float) -> Iterator[None]:
        """Hold the table's lock; it belongs to this session, so a dead run frees it.

        Args:
            table: the table's short name.
            wait_seconds: how long to wait for another holder.

        Raises:
            WaitForOtherRun: somebody else still holds it.
        """
        with table_lock(self._connection, self._pipeline, table, wait_seconds):
            yield

    def _operator_values(
        self, kind: StepKind, cursor: Cursor, generation: int, source_uuid: uuid.UUID | None
    ) -> dict[str, Any]:
        return {
            **dict.fromkeys(_WRITTEN),
            "max_timestamp": cursor.timestamp,
            "max_sequence_number": cursor.sequence,
            "status": RowStatus.INITIALIZED,
            "kind": kind,
            "generation": generation,
            "source_uuid": source_uuid,
            "row_count": 0,
        }

    def _insert(self, table: str, started_from: int | None, values: dict[str, Any]) -> LedgerRow:
        parameters = {**values, **self._scope(table), "started_from": started_from}
        try:
            with ledger_errors(), self._connection.transaction():
                record = self._connection.execute(_APPEND, parameters).fetchone()
                reach(Failpoint.IN_LEDGER_TRANSACTION)
        except psycopg.errors.UniqueViolation:
            record = None
        if record is None:
            raise StartOver(
                f"The ledger of {table} has moved on from row {started_from} in the meantime; nothing was recorded.",
                "A run starts again from the newest row by itself; repeat a command that you gave by hand.",
            )
        return LedgerRow.from_record(record)
