"""A row of the ledger, as it is read and as a run adds it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from offload_core.protocol.window import Cursor, Window

VALID = "('initialized', 'success')"
"""The statuses of rows that carry a watermark, as SQL has them."""
COLUMNS = (
    "id, table_name, max_timestamp, max_sequence_number, status, kind, created_at, started_from, generation, source_uuid, "
    "window_lower, window_upper, row_count, snapshot_id, total_records, run_id, attempt, last_successful_run, "
    "last_run_duration_seconds, failure_count, error_kind, last_error_message"
)
"""What `LedgerRow.from_record` needs."""


@dataclass(frozen=True)
class LedgerRow:
    """One row of `offload_watermarks`. Times are UTC; `cursor` is the watermark after this row."""

    id: int
    table_name: str
    cursor: Cursor
    status: str
    kind: str
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
        """Build the row from a record of column names and values."""
        values = dict(record)
        sequence = values.pop("max_sequence_number")
        # NaN, typed by hand: no row of that timestamp is known to be offloaded, so all are read again, and none is inserted twice.
        cursor = Cursor(values.pop("max_timestamp"), 0 if sequence.is_nan() else int(sequence))
        return cls(cursor=cursor, **values)


@dataclass(frozen=True)
class Step:
    """What a run adds to the ledger: the watermark after it and how it came about.

    Attributes:
        kind: `increment`, `empty`, `recovered`, or, for a commit behind the watermark, `repair` or `restate`.
        rows: rows of the window, which is None only for steps without one.
        snapshot_id, total_records: the Iceberg snapshot that was published and the table's record count after it.
        seconds: how long the step took.
    """

    kind: str
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
