"""Reading the ledger in PostgreSQL, the append-only history of watermarks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from offload_core.errors import TableHalted, WatermarkNotFound
from offload_core.ledger.rows import (
    ACCEPTING_KINDS,
    COLUMNS,
    FAILED_STATUSES,
    POSITION_KINDS,
    VALID_ROWS,
    LedgerRow,
    RowStatus,
    StepKind,
    sql_list,
)
from offload_core.ledger.session import LedgerConnection, ledger_errors
from offload_core.protocol.plan import Progress
from offload_core.protocol.window import Cursor, Interval

NOT_FAILED = f"status <> '{RowStatus.FAILED.value}'"
"""The newest such row says whether the table is halted; failed attempts since do not change that."""


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
        row = self._newest(table, NOT_FAILED)
        if row is None:
            raise WatermarkNotFound(table)
        if row.status is RowStatus.HALTED:
            since = row.created_at.isoformat(sep=" ", timespec="seconds")
            raise TableHalted(
                f"{table} is halted since {since}: {row.last_error_message}",
                f"When the cause is dealt with, run `offload resume {table}`.",
            )
        return row

    def cursor(self, table: str) -> Cursor:
        """A table's watermark even while the table is halted. Raises WatermarkNotFound if it has none."""
        row = self._newest(table, VALID_ROWS)
        if row is None:
            raise WatermarkNotFound(table)
        return row.cursor

    def last_commit(self, table: str) -> LedgerRow | None:
        """The newest valid row that published a snapshot, unless an operator has resumed the table since."""
        return self._newest(
            table,
            f"status = '{RowStatus.SUCCESS.value}' AND snapshot_id IS NOT NULL AND id > "
            f"{_newest_id((StepKind.RESUME,))}",
        )

    def operator_row(self, table: str) -> int:
        """Id of the newest row that an operator wrote (init, reset, resume), 0 if there is none."""
        row = self._newest(table, f"kind IN {sql_list(POSITION_KINDS)}")
        return row.id if row else 0

    def progress(self, table: str, watermark: LedgerRow) -> Progress:
        """How far a table is: its newest valid row, and how far runs have read since an operator set the watermark."""
        return Progress(watermark.cursor, self._read_since(table, POSITION_KINDS))

    def read_until(self, table: str) -> datetime | None:
        """The latest moment (UTC) up to which runs have read.

        None before the first run, and after `offload resume`, which accepts a gap. A reset counts for nothing here: it
            says what to
        read again, not that it had never been read.
        """
        return self._read_since(table, ACCEPTING_KINDS)

    def _read_since(self, table: str, kinds: tuple[StepKind, ...]) -> datetime | None:
        query = (
            "SELECT max(window_upper) AS seen FROM offload_watermarks "  # noqa: S608 - constants only
            f"WHERE pipeline_id = %(pipeline)s AND table_name = %(table)s AND {VALID_ROWS} AND id > {_newest_id(kinds)}"
        )
        with ledger_errors():
            record = self._connection.execute(query, self._scope(table)).fetchone()
        return record["seen"] if record else None

    def newest(self, table: str) -> LedgerRow | None:
        """The newest row of any status."""
        return self._newest(table, "true")

    def newest_rows(self) -> dict[str, LedgerRow]:
        """The newest row of any status of each table of the pipeline, by table name."""
        return self._newest_by_table("true")

    def halts(self) -> dict[str, LedgerRow]:
        """The halted tables by name, each with the row that says why; failed attempts since then do not hide it."""
        rows = self._newest_by_table(NOT_FAILED)
        return {table: row for table, row in rows.items() if row.status is RowStatus.HALTED}

    def known_since(self) -> dict[str, datetime]:
        """When the first row of each table of the pipeline was written (UTC), by table name."""
        query = (
            "SELECT table_name, min(created_at) AS since FROM offload_watermarks "
            "WHERE pipeline_id = %(pipeline)s GROUP BY table_name"
        )
        with ledger_errors():
            records = self._connection.execute(query, {"pipeline": self._pipeline}).fetchall()
        return {record["table_name"]: record["since"] for record in records}

    def history(self, table: str, limit: int = 20) -> list[LedgerRow]:
        """The newest rows of a table, newest first."""
        return self._rows("table_name = %(table)s ORDER BY id DESC LIMIT %(limit)s", {"table": table, "limit": limit})

    def rows_since(self, since: datetime) -> list[LedgerRow]:
        """The rows of all tables from `since` (zone-aware) on, oldest first."""
        return self._rows("created_at >= %(since)s ORDER BY id", {"since": since})

    def rows_of_period(self, period: Interval) -> list[LedgerRow]:
        """The rows of all tables that were written in a period, oldest first."""
        return self._rows(
            "created_at >= %(start)s AND created_at < %(end)s ORDER BY id", {"start": period.start, "end": period.end}
        )

    def failures_since(self, since: datetime) -> list[LedgerRow]:
        """The failed attempts and halts of all tables from `since` (zone-aware) on, oldest first."""
        return self._rows(
            f"status IN {sql_list(FAILED_STATUSES)} AND created_at >= %(since)s ORDER BY id", {"since": since}
        )

    def rows_of_run(self, run_id: str, since: datetime) -> list[LedgerRow]:
        """The rows that a run added to any table from `since` (zone-aware) on, oldest first."""
        return self._rows("run_id = %(run)s AND created_at >= %(since)s ORDER BY id", {"run": run_id, "since": since})

    def steps_reaching(self, table: str, start: datetime) -> list[LedgerRow]:
        """A table's valid rows that reach `start` (zone-aware), and all restates and operators' rows; oldest first."""
        return self._rows(
            f"table_name = %(table)s AND {VALID_ROWS} AND (status = '{RowStatus.INITIALIZED.value}' "
            f"OR kind = '{StepKind.RESTATE.value}' OR window_upper >= %(start)s OR max_timestamp >= %(start)s) "
            "ORDER BY id",
            {"table": table, "start": start},
        )

    def _rows(self, condition: str, values: Mapping[str, object]) -> list[LedgerRow]:
        query = (
            f"SELECT {COLUMNS} FROM offload_watermarks "  # noqa: S608 - constants only
            f"WHERE pipeline_id = %(pipeline)s AND {condition}"
        )
        with ledger_errors():
            records = self._connection.execute(query, {"pipeline": self._pipeline, **values}).fetchall()
        return [LedgerRow.from_record(record) for record in records]

    def _newest_by_table(self, condition: str) -> dict[str, LedgerRow]:
        query = (
            f"SELECT DISTINCT ON (table_name) {COLUMNS} FROM offload_watermarks "  # noqa: S608 - constants only
            f"WHERE pipeline_id = %(pipeline)s AND {condition} ORDER BY table_name, id DESC"
        )
        with ledger_errors():
            records = self._connection.execute(query, {"pipeline": self._pipeline}).fetchall()
        return {record["table_name"]: LedgerRow.from_record(record) for record in records}

    def _newest(self, table: str, condition: str) -> LedgerRow | None:
        rows = self._rows(f"table_name = %(table)s AND {condition} ORDER BY id DESC LIMIT 1", self._scope(table))
        return rows[0] if rows else None

    def _scope(self, table: str) -> dict[str, str]:
        return {"pipeline": self._pipeline, "table": table}


def _newest_id(kinds: tuple[StepKind, ...]) -> str:
    """SQL for the id of a table's newest row of some kinds, 0 if there is none."""
    return (
        "coalesce((SELECT max(id) FROM offload_watermarks "  # noqa: S608 - constants only
        f"WHERE pipeline_id = %(pipeline)s AND table_name = %(table)s AND kind IN {sql_list(kinds)}), 0)"
    )
