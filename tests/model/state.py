"""What the model knows: both tiers, the ledger and two writers, as small immutable values, and their translation into
the real types.

Times are whole minutes after 1970 and stand for the product's `datetime`; a row is its timestamp and its sequence
number, which is also its key. A timestamp is a partition of its own.
"""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import datetime, timedelta
from enum import IntEnum
from functools import cache
from typing import NamedTuple

from offload_core.ledger.reconcile import ColdState
from offload_core.ledger.rows import LedgerRow, RowStatus, StepKind
from offload_core.protocol.marker import Marker
from offload_core.protocol.window import EPOCH, Cursor, Window

BUFFER = 1
"""How long rows may take to arrive, in minutes."""


class Row(NamedTuple):
    """A row of the hot tier, and also a cursor: both are a timestamp and a sequence number."""

    timestamp: int
    sequence: int


ORIGIN = Row(0, 0)
FOREIGN = Row(9, 9)
"""A row that somebody else appends to the Iceberg table; the hot tier never has it."""
Rows = tuple[Row, ...]


class Mark(NamedTuple):
    """The marker of a commit.

    What the real one doesn't carry, only the invariants look at: `base` and the rows themselves.
    """

    attempt: int
    kind: str
    ledger_id: int
    source: int
    generation: int
    lower: Row
    upper: int
    cursor: Row
    rows: Rows
    base: int


class Snapshot(NamedTuple):
    """A snapshot in the history of Iceberg's `main`; its id is its place in `State.snapshots`, from 1.

    `rows` may hold a row twice.
    """

    parent: int
    rows: Rows
    mark: Mark | None


class Branch(NamedTuple):
    """An attempt's branch: made from the snapshot `base`, `head` is what has been committed to it."""

    attempt: int
    base: int
    head: Snapshot | None


class Entry(NamedTuple):
    """A row of the ledger, and the step that a writer is about to add."""

    id: int
    started_from: int
    status: str
    kind: str
    cursor: Row
    generation: int = 0
    source: int = 0
    upper: int = 0
    snapshot: int = 0
    total: int = 0
    reason: str = ""

    @property
    def is_valid(self) -> bool:
        """Whether the row is a watermark."""
        return self.status in ("initialized", "success")


class At(IntEnum):
    """The step that a writer takes next; what each does is written in `steps.py`."""

    START = 0
    READ_LEDGER = 1
    READ_ICEBERG = 2
    RECOVER = 3
    PLAN = 4
    FETCH = 5
    BRANCH = 6
    COMMIT = 7
    AUDIT = 8
    PUBLISH = 9
    LOOK_FOR_OWN_MARKER = 10
    RECORD = 11
    UNLOCK = 12


class Writer(NamedTuple):
    """A run in progress, with what it has read; `at` is START while there is none."""

    at: At = At.START
    task: str = ""
    attempt: int = 0
    has_lock: bool = False
    watermark: Entry | None = None
    base: int = 0
    source: int = 0
    lower: Row = ORIGIN
    upper: int = 0
    until: int = 0
    counted: Rows = ()
    reached: Row = ORIGIN
    mark: Mark | None = None
    step: Entry | None = None


IDLE = Writer()


class State(NamedTuple):
    """One state of the whole.

    Attributes:
        arrivals: how many of the scenario's rows have arrived; the clock follows from it.
        hot, floor, source: ClickHouse's rows, the latest timestamp that TTL has taken, and which table of that name it
            is.
        snapshots, main, branches: Iceberg; `main` is a snapshot's id, 0 for none.
        ledger: the ledger's rows, oldest first.
        writers: both writers.
        attempts, events: how many runs have started, and how many more events may happen.
        arrived, late, accepted, is_tampered: known to the invariants only: every row there ever was; those that came
            behind the watermark; those that an operator has given up; whether somebody else removed rows from Iceberg.
        flaw: what a step did that it must never do.
    """

    arrivals: int
    hot: Rows
    floor: int
    source: int
    snapshots: tuple[Snapshot, ...]
    main: int
    branches: tuple[Branch, ...]
    ledger: tuple[Entry, ...]
    writers: tuple[Writer, ...]
    attempts: int
    events: int
    arrived: Rows
    late: Rows = ()
    accepted: Rows = ()
    is_tampered: bool = False
    flaw: str = ""

    def rows_of(self, snapshot: int) -> Rows:
        """The rows of a snapshot of `main`'s history."""
        return self.snapshots[snapshot - 1].rows if snapshot else ()

    def mark_of(self, snapshot: int) -> Mark | None:
        """The marker of a snapshot of `main`'s history."""
        return self.snapshots[snapshot - 1].mark

    @property
    def cold(self) -> Rows:
        """The rows that readers of `main` see."""
        return self.rows_of(self.main)

    def ancestors(self, snapshot: int) -> tuple[int, ...]:
        """A snapshot's id and those it descends from, newest first."""
        found = []
        while snapshot:
            found.append(snapshot)
            snapshot = self.snapshots[snapshot - 1].parent
        return tuple(found)

    @property
    def watermark(self) -> Entry:
        """The newest valid row of the ledger."""
        return next(entry for entry in reversed(self.ledger) if entry.is_valid)

    @property
    def is_halted(self) -> bool:
        """Whether the table waits for an operator."""
        return self.ledger[-1].status == "halted"

    @property
    def last_commit(self) -> Entry | None:
        """The newest row that published a snapshot, unless an operator has resumed the table since."""
        for entry in reversed(self.ledger):
            if entry.kind == "resume":
                return None
            if entry.status == "success" and entry.snapshot:
                return entry
        return None

    @property
    def operator_row(self) -> int:
        """Id of the newest row that an operator wrote."""
        return max(entry.id for entry in self.ledger if entry.status == "initialized")

    @property
    def seen_until(self) -> int:
        """The latest moment up to which a run has read since an operator last set the watermark; 0 if none has."""
        return max((entry.upper for entry in self.ledger if entry.is_valid and entry.id > self.operator_row), default=0)

    def committed_by_others(self, rows: Rows) -> State:
        """The state after a commit to `main` that is not ours."""
        snapshots = (*self.snapshots, Snapshot(self.main, tuple(rows), None))
        return self._replace(snapshots=snapshots, main=len(snapshots))

    def branch_of(self, attempt: int) -> Branch | None:
        """An attempt's branch, None if it is gone."""
        return next((branch for branch in self.branches if branch.attempt == attempt), None)

    def without_branch(self, attempt: int) -> State:
        """The state without an attempt's branch."""
        return self._replace(branches=tuple(branch for branch in self.branches if branch.attempt != attempt))

    def writer_of(self, attempt: int) -> Writer:
        """The writer of an attempt, or an idle one if the attempt is over."""
        return next((writer for writer in self.writers if writer.attempt == attempt), IDLE)

    def with_writer(self, old: Writer, new: Writer) -> State:
        """The state with one writer changed. Writers have no names: they are kept sorted, so that twins count once."""
        writers = list(self.writers)
        writers[writers.index(old)] = new
        return self._replace(writers=tuple(sorted(writers, key=lambda writer: writer.attempt)))

    def appended(self, entry: Entry) -> State:
        """The state with a new row in the ledger, whose id is the next one."""
        return self._replace(ledger=(*self.ledger, entry._replace(id=len(self.ledger) + 1)))


# The real types, so that the product's own functions decide.


@cache
def moment(minute: int) -> datetime:
    """A minute of the model as a moment, UTC."""
    return EPOCH + timedelta(minutes=minute)


@cache
def real_cursor(row: Row) -> Cursor:
    """A row or cursor of the model as the product's cursor."""
    return Cursor(moment(row.timestamp), row.sequence)


def source_uuid(source: int) -> uuid.UUID:
    """The UUID of the model's n-th ClickHouse table."""
    return uuid.UUID(int=source)


@cache
def real_marker(mark: Mark) -> Marker:
    """A mark as the product's marker."""
    return Marker(
        pipeline="model",
        source_uuid=source_uuid(mark.source),
        generation=mark.generation,
        window=Window(real_cursor(mark.lower), moment(mark.upper)),
        cursor=real_cursor(mark.cursor),
        rows=len(mark.rows),
        run_id=mark.kind,
        attempt=1,
        attempt_id=str(mark.attempt),
        ledger_id=mark.ledger_id,
        kind=mark.kind,
    )


@cache
def real_ledger_row(entry: Entry) -> LedgerRow:
    """A row of the model's ledger as the product's."""
    return LedgerRow(
        id=entry.id,
        table_name="trades",
        cursor=real_cursor(entry.cursor),
        status=RowStatus(entry.status),
        kind=StepKind(entry.kind),
        created_at=moment(entry.id),
        started_from=entry.started_from or None,
        generation=entry.generation,
        source_uuid=source_uuid(entry.source) if entry.source else None,
        window_lower=None,
        window_upper=moment(entry.upper) if entry.upper else None,
        row_count=0,
        snapshot_id=entry.snapshot or None,
        total_records=entry.total if entry.snapshot else None,
        run_id=None,
        attempt=None,
        last_successful_run=None,
        last_run_duration_seconds=None,
        failure_count=0,
        error_kind=None,
        last_error_message=entry.reason or None,
    )


@cache
def cold_state(snapshots: tuple[Snapshot, ...], searched: tuple[int, ...]) -> ColdState:
    """What Iceberg says when `main` is the first of the snapshots `searched` (newest first) for the newest marker."""
    rows = snapshots[searched[0] - 1].rows if searched else ()
    for number in searched:
        marked = snapshots[number - 1]
        if marked.mark is not None:
            fewer = Counter(row.timestamp for row in marked.rows)
            fewer.subtract(row.timestamp for row in rows)
            lost = {str(partition): count for partition, count in sorted(fewer.items()) if count > 0}
            return ColdState(real_marker(marked.mark), number, len(marked.rows), len(rows), lost)
    return ColdState(None, None, None, len(rows))
