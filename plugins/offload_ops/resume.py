"""Letting a halted table go on: what an operator reads before, the same on the command line and on the page."""

from __future__ import annotations

from dataclasses import dataclass

from offload_core.config.connections import IcebergConnection
from offload_core.config.tables import TableConfig
from offload_core.errors import OffloadError, StartOver
from offload_core.ledger.ledger import Ledger, LedgerRow
from offload_core.protocol.window import Cursor
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.queries import NOW, parse_time
from offload_core.source.row_counts import rows_between
from offload_ops.halt import cause_of_stop, what_is_accepted
from offload_ops.tiers.cold_table import cold_rows

_HISTORY = 1000
"""Rows in which the cause is looked for; a table that is halted gets one for each attempt since."""


@dataclass(frozen=True)
class Stop:
    """Why a table stands, and what letting it go on means.

    Attributes:
        table: its short name.
        cause: the row that stopped it.
        watermark: where it would go on from.
        counts: the rows that matter, in sentences.
    """

    table: str
    cause: LedgerRow
    watermark: Cursor
    counts: tuple[str, ...]

    @property
    def since(self) -> str:
        """When it was stopped, as a sentence begins."""
        return f"{self.table} was stopped at {self.cause.created_at.isoformat(sep=' ', timespec='seconds')} because:"

    @property
    def why(self) -> str:
        """The reason that was recorded."""
        return self.cause.last_error_message or "No reason was recorded."

    @property
    def accepts(self) -> str:
        """What letting it go on means."""
        return f"Going on accepts: {what_is_accepted(self.cause)}"

    @property
    def question(self) -> str:
        """What the operator is asked."""
        return f"Let {self.table} go on from {self.watermark}?"


def find_stop(ledger: Ledger, client: ClickHouse, iceberg: IcebergConnection, table: TableConfig) -> Stop | None:
    """Why only an operator can let a table go on; None if nothing has to be accepted.

    Raises:
        WatermarkNotFound: the table has no watermark to go on from.
    """
    watermark = ledger.cursor(table.name)
    cause = cause_of_stop(ledger.history(table.name, _HISTORY))
    if cause is None:
        return None
    return Stop(table.name, cause, watermark, _counts(ledger, client, iceberg, table, watermark))


def let_go_on(ledger: Ledger, stop: tuple[str, int]) -> LedgerRow:
    """Accept a halted table as it is now, for the reason that the operator has read; the new row.

    Args:
        ledger: the watermarks.
        stop: the table, and the id of the row that stopped it.

    Raises:
        StartOver: it has been resumed or stopped for another reason since.
    """
    table, read = stop
    cause = cause_of_stop(ledger.history(table, _HISTORY))
    if cause is None:
        raise StartOver(f"{table} is no longer stopped; there is nothing left to resume.", "Look at it again.")
    if cause.id != read:
        raise StartOver(
            f"{table} was stopped again since you looked: {cause.last_error_message}",
            "Read that first, then decide again.",
        )
    return ledger.resume(table)


def not_stopped(table: str) -> str:
    """What is said where there is nothing to resume."""
    return f"{table} is not stopped; there is nothing to resume."


def _counts(
    ledger: Ledger, client: ClickHouse, iceberg: IcebergConnection, table: TableConfig, watermark: Cursor
) -> tuple[str, ...]:
    """The numbers a person wants to see before accepting a table as it is; what can't be told says why."""
    try:
        now = parse_time(client.rows(NOW)[0]["now"])
        ahead = (
            f"ClickHouse holds {rows_between(client, table, watermark, Cursor(max(now, watermark.timestamp))):,} rows"
        )
    except OffloadError as error:
        ahead = f"ClickHouse's rows can't be counted ({error.problem})"
    try:
        held = f"Iceberg holds {cold_rows(iceberg, table.target):,} rows"
    except OffloadError as error:
        held = f"Iceberg's rows can't be counted ({error.problem})"
    commit = ledger.last_commit(table.name)
    return (
        f"{ahead} past the watermark {watermark}; they come with the next run.",
        f"{held} now{_recorded(commit)}.",
    )


def _recorded(commit: LedgerRow | None) -> str:
    if commit is None or commit.total_records is None:
        return ""
    return f", and held {commit.total_records:,} after our last commit (snapshot {commit.snapshot_id})"
