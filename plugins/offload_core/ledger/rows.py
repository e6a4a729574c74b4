"""The rows of the ledger (`offload_watermarks`): statuses, kinds, a row as it is read, a step as a run adds it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from offload_core.errors import WatermarkInvalid
from offload_core.protocol.marker import Marker
from offload_core.protocol.window import Cursor, Window


class RowStatus(str, Enum):
    """What a row says of its table; the CHECK of 001_offload_watermarks.sql lists the same."""

    INITIALIZED = "initialized"
    """An operator has set or confirmed the watermark."""
    SUCCESS = "success"
    """A run has moved, recovered or compared rows."""
    FAILED = "failed"
    """An attempt has failed; the row repeats the watermark."""
    HALTED = "halted"
    """The table is halted until an operator resumes it; the row repeats the watermark."""

    # As text, SQL parameter or JSON the member is its value, in every version of Python.
    __str__ = str.__str__


class StepKind(str, Enum):
    """What kind of step a row records; 002_kinds.sql lists the same."""

    INIT = "init"
    """`offload init` has given the table its first watermark."""
    RESET = "reset"
    """An operator has moved the watermark."""
    RESUME = "resume"
    """An operator has accepted a halted table as it is."""
    INCREMENT = "increment"
    """A run has moved new rows."""
    EMPTY = "empty"
    """A run has found no new rows."""
    RECOVERED = "recovered"
    """A run has found an increment in Iceberg that the ledger lacked."""
    REPAIR = "repair"
    """A run has inserted rows that were missing behind the watermark."""
    RESTATE = "restate"
    """A run has replaced an interval behind the watermark."""
    FAILURE = "failure"
    """An attempt has failed."""
    HALT = "halt"
    """An attempt, or an audit, has halted the table."""

    __str__ = str.__str__

    @classmethod
    def of_marker(cls, marker: Marker) -> StepKind:
        """The kind of step that published a commit.

        Raises:
            WatermarkInvalid: the marker names a kind that does not exist.
        """
        try:
            return cls(marker.kind)
        except ValueError as error:
            raise WatermarkInvalid(
                f"A snapshot's marker names the kind {marker.kind!r}, which does not exist.",
                "Somebody edited the snapshot's summary; compare it with `offload history` and choose a watermark with "
                "`offload reset`.",
            ) from error


VALID_STATUSES = (RowStatus.INITIALIZED, RowStatus.SUCCESS)
"""The statuses of rows that carry a watermark of their own."""
FAILED_STATUSES = (RowStatus.FAILED, RowStatus.HALTED)
"""The statuses of rows that only repeat one."""
POSITION_KINDS = (StepKind.INIT, StepKind.RESET, StepKind.RESUME)
"""Rows with which an operator sets or confirms a table's position."""
ACCEPTING_KINDS = (StepKind.INIT, StepKind.RESUME)
"""Rows with which an operator accepts that everything before the watermark has been dealt with; a reset does not."""
AHEAD_KINDS = (StepKind.INCREMENT, StepKind.EMPTY, StepKind.RECOVERED)
"""Steps that read past the watermark."""
OFFLOADED_KINDS = (StepKind.INCREMENT, StepKind.RECOVERED)
"""Steps that move new rows."""
BEHIND_KINDS = (StepKind.REPAIR, StepKind.RESTATE)
"""Steps that work behind the watermark."""
FAILED_KINDS = (StepKind.FAILURE, StepKind.HALT)
"""Rows of failed attempts and of halts."""


def sql_list(values: Iterable[RowStatus | StepKind]) -> str:
    """Statuses or kinds as the right side of SQL's `IN`."""
    return "(" + ", ".join(f"'{value.value}'" for value in values) + ")"


VALID_ROWS = f"status IN {sql_list(VALID_STATUSES)}"
"""The condition of a valid row: the newest one is the table's watermark."""
COLUMNS = (
    "id, table_name, max_timestamp, max_sequence_number, status, kind, created_at, started_from, generation, "
    "source_uuid, window_lower, window_upper, row_count, snapshot_id, total_records, run_id, attempt, "
    "last_successful_run, last_run_duration_seconds, failure_count, error_kind, last_error_message"
)
"""What `LedgerRow.from_record` needs."""


@dataclass(frozen=True)
class LedgerRow:
    """One row of `offload_watermarks`. Times are UTC.

    Attributes:
        cursor: the watermark after this row.
        started_from: id of the row that it followed.
        window_lower, window_upper: the window that the step read; None for steps without one.
        row_count: rows of the window.
        snapshot_id, total_records: the Iceberg snapshot that the step published, and the table's record count after it.
        last_successful_run: when the table had last been offloaded; None: never.
        failure_count: failed attempts since then.
    """

    id: int
    table_name: str
    cursor: Cursor
    status: RowStatus
    kind: StepKind
    created_at: datetime
    started_from: int | None
    generation: int
    source_uuid: uuid.UUID | None
    window_lower: datetime | None
    window_upper: datetime | None
    row_count: int
    snapshot_id: int | None
    total_records: int | None
    run_id: str | None
    attempt: int | None
    last_successful_run: datetime | None
    last_run_duration_seconds: float | None
    failure_count: int
    error_kind: str | None
    last_error_message: str | None

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> LedgerRow:
        """Build the row from a record of column names and values.

        Raises:
            WatermarkInvalid: its status or kind does not exist in this version.
        """
        values = dict(record)
        sequence = values.pop("max_sequence_number")
        # NaN, typed by hand: no row of that timestamp is known to be offloaded, so all are read again, and none is
        # inserted twice.
        cursor = Cursor(values.pop("max_timestamp"), 0 if sequence.is_nan() else int(sequence))
        try:
            status, kind = RowStatus(values.pop("status")), StepKind(values.pop("kind"))
        except ValueError as error:
            raise WatermarkInvalid(
                f"Row {record['id']} of the ledger has the status {record['status']!r} and the kind "
                f"{record['kind']!r}, which this version does not know.",
                "A newer version of the offload wrote it: install that version again.",
            ) from error
        return cls(cursor=cursor, status=status, kind=kind, **values)


@dataclass(frozen=True)
class Step:
    """What a run adds to the ledger: the watermark after it and how it came about.

    Attributes:
        kind: one of `AHEAD_KINDS`, or, for a commit behind the watermark, of `BEHIND_KINDS`.
        rows: rows of the window, which is None only for steps without one.
        snapshot_id, total_records: the Iceberg snapshot that was published and the table's record count after it.
        seconds: how long the step took.
    """

    kind: StepKind
    cursor: Cursor
    generation: int
    source_uuid: uuid.UUID | None
    run_id: str
    attempt: int
    window: Window | None = None
    rows: int = 0
    snapshot_id: int | None = None
    total_records: int | None = None
    seconds: float | None = None

    @classmethod
    def empty(
        cls,
        watermark: LedgerRow,
        window: Window,
        *,
        source_uuid: uuid.UUID | None,
        run_id: str,
        attempt: int,
        seconds: float | None = None,
    ) -> Step:
        """A success without rows: it leaves the watermark where it is and restarts the lag clock."""
        return cls(
            kind=StepKind.EMPTY,
            cursor=watermark.cursor,
            generation=watermark.generation,
            source_uuid=source_uuid,
            window=window,
            run_id=run_id,
            attempt=attempt,
            seconds=seconds,
        )
