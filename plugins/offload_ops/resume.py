"""Resuming a halted table, from the command line or the page: why it halted, what resuming accepts, the step itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from offload_core.config.connections import IcebergConnection
from offload_core.config.tables import TableConfig
from offload_core.errors import (
    ColdRowsLost,
    HotRowsExpired,
    LedgerAhead,
    OffloadError,
    SourceReplaced,
    StartOver,
    WatermarkInvalid,
)
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.rows import LedgerRow, RowStatus, StepKind
from offload_core.protocol.window import Cursor
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.queries import NOW, parse_time
from offload_core.source.row_counts import rows_between
from offload_ops.text import clock_seconds
from offload_ops.tiers.cold_table import cold_rows

_HISTORY = 1000
"""Rows that are searched for the cause: a halted table gets one more with each attempt."""
_ACCEPTED = {
    SourceReplaced.kind: "the ClickHouse table that is there now continues where the old one ended; its rows up to the "
    "watermark are not read.",
    LedgerAhead.kind: "Iceberg's table as it is; rows up to the watermark that it lacks stay missing unless "
    "`offload reset` sets the watermark back first.",
    ColdRowsLost.kind: "Iceberg's table as it is; the lost rows stay missing unless `offload reset` or "
    "`offload repair` brings back those that ClickHouse still holds.",
    HotRowsExpired.kind: "the loss of the expired rows; they will never be in Iceberg.",
    WatermarkInvalid.kind: "Iceberg's newest commit as it is, whatever its marker says.",
}
"""What resuming accepts, by the kind of the error that halted the table."""


@dataclass(frozen=True)
class HaltReview:
    """What an operator reads before resuming a table.

    Attributes:
        table: its short name.
        cause: the ledger row with the reason.
        watermark: where the table would resume.
        counts: the rows that matter, in sentences.
    """

    table: str
    cause: LedgerRow
    watermark: Cursor
    counts: tuple[str, ...]

    @property
    def headline(self) -> str:
        """When the table was halted; the reason follows."""
        what = "was halted" if self.cause.status is RowStatus.HALTED else "failed"
        return f"{self.table} {what} at {clock_seconds(self.cause.created_at)} UTC because:"

    @property
    def reason(self) -> str:
        """The recorded reason."""
        return self.cause.last_error_message or "No reason was recorded."

    @property
    def accepts(self) -> str:
        """What resuming the table means."""
        accepted = _ACCEPTED.get(self.cause.error_kind or "", "source and target as they are now.")
        return f"Resuming accepts: {accepted}"

    @property
    def question(self) -> str:
        """The question to the operator."""
        return f"Resume {self.table} from {self.watermark}?"


def review_halt(
    ledger: Ledger, client: ClickHouse, iceberg: IcebergConnection, table: TableConfig
) -> HaltReview | None:
    """Collect what an operator needs to know before resuming a table; None if there is nothing to accept.

    Raises:
        WatermarkNotFound: the table has no watermark to resume from.
    """
    watermark = ledger.cursor(table.name)
    cause = cause_of_halt(ledger.history(table.name, _HISTORY))
    if cause is None:
        return None
    return HaltReview(table.name, cause, watermark, _counts(ledger, client, iceberg, table, watermark))


def resume_table(ledger: Ledger, table: str, cause_id: int) -> LedgerRow:
    """Accept a halted table as it is now, for the reason that the operator has read. Returns the new row.

    Args:
        ledger: the watermarks.
        table: its short name.
        cause_id: the id of the ledger row with that reason.

    Raises:
        StartOver: the table has been resumed, or halted for another reason, since the operator read it.
    """
    cause = cause_of_halt(ledger.history(table, _HISTORY))
    if cause is None:
        raise StartOver(f"{table} is no longer halted; there is nothing left to resume.", "Check its state again.")
    if cause.id != cause_id:
        raise StartOver(
            f"{table} was halted again after you read the reason: {cause.last_error_message}",
            "Read the new reason first, then decide again.",
        )
    return ledger.resume(table)


def not_halted(table: str) -> str:
    """The message for a table that cannot be resumed because it is not halted."""
    return f"{table} is not halted; there is nothing to resume."


def cause_of_halt(history: Sequence[LedgerRow]) -> LedgerRow | None:
    """The row with the reason why only an operator can resume a table; None if there is nothing to accept.

    The reason is a halt, or a marker in Iceberg that cannot be read. A success or a `resume` clears both; a reset
    clears neither. Other failures end by themselves, or once what they name is fixed.

    Args:
        history: the table's rows, newest first.
    """
    failure: LedgerRow | None = None
    for row in history:
        if row.kind is StepKind.RESUME or row.status is RowStatus.SUCCESS:
            break
        if row.status is RowStatus.HALTED:
            return row
        if row.error_kind == WatermarkInvalid.kind and failure is None:
            failure = row
    return failure


def _counts(
    ledger: Ledger, client: ClickHouse, iceberg: IcebergConnection, table: TableConfig, watermark: Cursor
) -> tuple[str, ...]:
    """The counts that an operator compares before accepting a table. A count that fails gives its reason instead."""
    try:
        now = parse_time(client.rows(NOW)[0]["now"])
        ahead = rows_between(client, table, watermark, Cursor(max(now, watermark.timestamp)))
        hot = f"ClickHouse holds {ahead:,} rows past the watermark {watermark}; the next run offloads them."
    except OffloadError as error:
        hot = f"ClickHouse's rows past the watermark {watermark} cannot be counted ({error.problem})."
    commit = ledger.last_commit(table.name)
    try:
        cold = f"Iceberg holds {cold_rows(iceberg, table.target):,} rows now{_recorded(commit)}."
    except OffloadError as error:
        cold = f"Iceberg's rows cannot be counted ({error.problem}){_recorded(commit)}."
    return hot, cold


def _recorded(commit: LedgerRow | None) -> str:
    if commit is None or commit.total_records is None:
        return ""
    return f"; it held {commit.total_records:,} after our last commit (snapshot {commit.snapshot_id})"
