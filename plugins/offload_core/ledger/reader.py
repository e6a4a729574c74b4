"""What the ledger in PostgreSQL says: the append-only history of watermarks, read."""

from __future__ import annotations

from datetime import datetime

from offload_core.errors import TableHalted, WatermarkNotFound
from offload_core.ledger.rows import COLUMNS, VALID, LedgerRow
from offload_core.ledger.session import LedgerConnection, ledger_errors
from offload_core.protocol.plan import Progress
from offload_core.protocol.window import Cursor


class LedgerReader:
    """The watermarks of one pipeline, over one PostgreSQL session that the caller opens and closes."""

    def __init__(self, connection: LedgerConnection, pipeline: str) -> None:
        self._connection = connection
        self._pipeline = pipeline

    def watermark(self, table: str) -> LedgerRow:
        """The newest valid row of a table.

        Raises:
            WatermarkNotFound: the table has none.
            TableHalted: the table was halted since and nobody has resumed it.
        """
        row = self._newest(table, "status <> 'failed'")
        if row is None:
            raise WatermarkNotFound(table)
        if row.status == "halted":
            raise TableHalted(
                f"{table} is halted since {row.created_at.isoformat(sep=' ', timespec='seconds')}: {row.last_error_message}",
                f"When the cause is dealt with, run `offload resume {table}`.",
            )
        return row

    def cursor(self, table: str) -> Cursor:
        """A table's watermark even while the table is halted. Raises WatermarkNotFound if it has none."""
        row = self._newest(table, f"status IN {VALID}")
        if row is None:
            raise WatermarkNotFound(table)
        return row.cursor

    def last_commit(self, table: str) -> LedgerRow | None:
        """The newest valid row that published a snapshot, unless an operator has resumed the table since."""
        return self._newest(
            table,
            "status = 'success' AND snapshot_id IS NOT NULL AND id > coalesce((SELECT max(id) FROM offload_watermarks "
            "WHERE pipeline_id = %(pipeline)s AND table_name = %(table)s AND kind = 'resume'), 0)",
        )

    def operator_row(self, table: str) -> int:
        """Id of the newest row that an operator wrote (init, reset, resume), 0 if there is none."""
        row = self._newest(table, "kind IN ('init', 'reset', 'resume')")
        return row.id if row else 0

    def progress(self, table: str, watermark: LedgerRow) -> Progress:
        """How far a table is, by its newest valid row and what runs have read since an operator last set the watermark."""
        return Progress(watermark.cursor, self._read_since(table, "kind IN ('init', 'reset', 'resume')"))

    def read_until(self, table: str) -> datetime | None:
        """The latest moment (UTC) up to which runs have read; None before the first, and after `offload resume`, which accepts a gap.

        A reset says what to read again, not that it had never been read.
        """
        return self._read_since(table, "kind IN ('init', 'resume')")

    def _read_since(self, table: str, operator_row: str) -> datetime | None:
        query = (
            "SELECT max(window_upper) AS seen FROM offload_watermarks "  # noqa: S608 - constants only
            f"WHERE pipeline_id = %(pipeline)s AND table_name = %(table)s AND status IN {VALID} AND id > coalesce("
            "(SELECT max(id) FROM offload_watermarks "
            f"WHERE pipeline_id = %(pipeline)s AND table_name = %(table)s AND {operator_row}), 0)"
        )
        with ledger_errors():
            record = self._connection.execute(query, self._scope(table)).fetchone()
        return record["seen"] if record else None

    def newest(self, table: str) -> LedgerRow | None:
        """The newest row of any status."""
        return self._newest(table, "true")

    def history(self, table: str, limit: int = 20) -> list[LedgerRow]:
        """The newest rows of a table, newest first."""
        query = (
            f"SELECT {COLUMNS} FROM offload_watermarks "  # noqa: S608 - constants only
            "WHERE pipeline_id = %(pipeline)s AND table_name = %(table)s ORDER BY id DESC LIMIT %(limit)s"
        )
        with ledger_errors():
            records = self._connection.execute(query, {**self._scope(table), "limit": limit}).fetchall()
        return [LedgerRow.from_record(record) for record in records]

    def newest_rows(self) -> dict[str, LedgerRow]:
        """The newest row of any status of each table of the pipeline, by table name."""
        query = (
            f"SELECT DISTINCT ON (table_name) {COLUMNS} FROM offload_watermarks "  # noqa: S608 - constants only
            "WHERE pipeline_id = %(pipeline)s ORDER BY table_name, id DESC"
        )
        with ledger_errors():
            records = self._connection.execute(query, {"pipeline": self._pipeline}).fetchall()
        return {record["table_name"]: LedgerRow.from_record(record) for record in records}

    def known_since(self) -> dict[str, datetime]:
        """When the first row of each table of the pipeline was written (UTC), by table name."""
        query = (
            "SELECT table_name, min(created_at) AS since FROM offload_watermarks "
            "WHERE pipeline_id = %(pipeline)s GROUP BY table_name"
        )
        with ledger_errors():
            records = self._connection.execute(query, {"pipeline": self._pipeline}).fetchall()
        return {record["table_name"]: record["since"] for record in records}

    def halts(self) -> dict[str, LedgerRow]:
        """The halted tables of the pipeline by name, each with the row that says why; failed attempts since don't hide it."""
        query = (
            f"SELECT DISTINCT ON (table_name) {COLUMNS} FROM offload_watermarks "  # noqa: S608 - constants only
            "WHERE pipeline_id = %(pipeline)s AND status <> 'failed' ORDER BY table_name, id DESC"
        )
        with ledger_errors():
            records = self._connection.execute(query, {"pipeline": self._pipeline}).fetchall()
        return {
            record["table_name"]: LedgerRow.from_record(record) for record in records if record["status"] == "halted"
        }

    def failures_since(self, since: datetime) -> list[LedgerRow]:
        """The failed attempts and halts of all tables from `since` (zone-aware) on, oldest first."""
        query = (
            f"SELECT {COLUMNS} FROM offload_watermarks "  # noqa: S608 - constants only
            "WHERE pipeline_id = %(pipeline)s AND status IN ('failed', 'halted') AND created_at >= %(since)s ORDER BY id"
        )
        with ledger_errors():
            records = self._connection.execute(query, {"pipeline": self._pipeline, "since": since}).fetchall()
        return [LedgerRow.from_record(record) for record in records]

    def rows_of_run(self, run_id: str, since: datetime) -> list[LedgerRow]:
        """The rows that a run added to any table from `since` (zone-aware) on, oldest first."""
        query = (
            f"SELECT {COLUMNS} FROM offload_watermarks "  # noqa: S608 - constants only
            "WHERE pipeline_id = %(pipeline)s AND run_id = %(run_id)s AND created_at >= %(since)s ORDER BY id"
        )
        parameters = {"pipeline": self._pipeline, "run_id": run_id, "since": since}
        with ledger_errors():
            records = self._connection.execute(query, parameters).fetchall()
        return [LedgerRow.from_record(record) for record in records]

    def _newest(self, table: str, condition: str) -> LedgerRow | None:
        query = (
            f"SELECT {COLUMNS} FROM offload_watermarks WHERE pipeline_id = %(pipeline)s AND table_name = %(table)s "  # noqa: S608
            f"AND {condition} ORDER BY id DESC LIMIT 1"
        )
        with ledger_errors():
            record = self._connection.execute(query, self._scope(table)).fetchone()
        return LedgerRow.from_record(record) if record else None

    def _scope(self, table: str) -> dict[str, str]:
        return {"pipeline": self._pipeline, "table": table}
