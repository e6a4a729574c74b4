"""What the ledger says of a table's past: how far it is, what no run has read, and how many rows Iceberg has to hold at least."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from offload_core.config.tables import TableConfig, WriteMode
from offload_core.ledger.ledger import Ledger, LedgerRow
from offload_core.ledger.session import LedgerConnection, ledger_errors
from offload_core.protocol.marker import INCREMENT
from offload_core.protocol.window import EARLIEST, EPOCH, MICROSECOND, Cursor, Interval
from offload_ops.audit.model import Finding
from offload_ops.audit.store import StoredAudit

_SET_BY_HAND = ("init", "reset")


@dataclass(frozen=True)
class PastStep:
    """One valid row of the ledger; times are UTC."""

    id: int
    kind: str
    created_at: datetime
    last: datetime
    window_lower: datetime | None
    window_upper: datetime | None
    rows: int
    source_uuid: str | None

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> PastStep:
        """Build it from a record of column names and values."""
        return cls(
            id=record["id"],
            kind=record["kind"],
            created_at=record["created_at"],
            last=record["max_timestamp"],
            window_lower=record["window_lower"],
            window_upper=record["window_upper"],
            rows=record["row_count"],
            source_uuid=str(record["source_uuid"]) if record["source_uuid"] else None,
        )


@dataclass(frozen=True)
class Past:
    """The ledger's side of one audit, read before anything else.

    Attributes:
        table: the table's entry.
        span: what is looked at.
        watermark: how far the table is, halted or not.
        last_commit: the newest row that published a snapshot; None before the first, or where an operator has accepted what is there.
        steps: the valid rows that reach into the span or beyond, and all that operators wrote, oldest first.
    """

    table: TableConfig
    span: Interval
    watermark: Cursor
    last_commit: LedgerRow | None
    steps: Sequence[PastStep]

    @property
    def closed_by(self) -> datetime | None:
        """Upsert tables: only periods that had closed by then have been offloaded; None for append tables."""
        if self.table.write_mode is WriteMode.APPEND:
            return None
        ends = [step.window_upper for step in self.steps if step.window_upper is not None]
        return max(ends, default=self.watermark.timestamp)

    @property
    def skipped(self) -> list[Interval]:
        """What an operator's watermark has jumped over and no run has read since."""
        gaps: list[Interval] = []
        reached = EARLIEST
        for step in self.steps:
            if step.kind in _SET_BY_HAND and step.last > reached:
                gaps.append(Interval(reached, step.last + MICROSECOND))
            elif step.window_lower is not None and step.window_upper is not None:
                gaps = [rest for gap in gaps for rest in _without(gap, step.window_lower, step.window_upper)]
            reached = max(reached, step.last)
        return gaps

    def replaced_until(self, source_uuid: str) -> datetime | None:
        """The last moment (UTC) of the rows that came from another ClickHouse table than the one there now, None if there are none."""
        others = [step.last for step in self.steps if step.source_uuid not in (None, source_uuid)]
        return max(others, default=None)

    def held_from(self, source_uuid: str) -> datetime | None:
        """The earliest moment (UTC) after which this very ClickHouse table is known to have held rows."""
        starts = [
            step.window_lower
            for step in self.steps
            if step.kind == INCREMENT
            and step.rows
            and step.source_uuid == source_uuid
            and step.window_lower is not None
        ]
        return min((start for start in starts if start > EPOCH), default=None)

    def rows_at_least(self, compared: Interval, earlier: StoredAudit | None) -> int:
        """How many rows of an interval Iceberg has held for certain, by this pipeline's commits and an earlier audit.

        What was before an operator accepted the table as it is (`resume`) or replaced rows of the interval (`restate`) doesn't count.
        """
        accepted = [step for step in self.steps if step.kind == "resume" or _restates(step, compared)]
        after = max((step.id for step in accepted), default=0)
        committed = sum(step.rows for step in self._increments(after) if _is_inside(step, compared))
        since = max((step.created_at for step in accepted), default=None)
        if earlier is None or (since is not None and earlier.created_at <= since):
            return committed
        is_part = compared.start <= earlier.compared.start and earlier.compared.end <= compared.end
        return max(committed, _held(earlier)) if is_part else committed

    def _increments(self, after: int) -> list[PastStep]:
        """The increments newer than a row; of upsert tables only those after a reset, which count their rows again."""
        if self.table.write_mode is WriteMode.UPSERT:
            after = max([after, *(step.id for step in self.steps if step.kind == "reset")])
        return [step for step in self.steps if step.kind == INCREMENT and step.id > after]


def read_past(
    session: LedgerConnection, pipeline: str, table: TableConfig, span_of: Callable[[Cursor], Interval]
) -> Past:
    """Read a table's past as far as it concerns a span, which may depend on the watermark.

    Raises:
        WatermarkNotFound, LedgerUnavailable, FixCredentials, RunInit
    """
    ledger = Ledger(session, pipeline)
    # First: a commit that is recorded meanwhile is newer than what is compared, and never the other way round.
    watermark = ledger.cursor(table.name)
    span = span_of(watermark)
    steps = _steps(session, pipeline, table.name, span.start)
    return Past(table, span, watermark, ledger.last_commit(table.name), steps)


def _steps(session: LedgerConnection, pipeline: str, table: str, start: datetime) -> list[PastStep]:
    query = (
        "SELECT id, kind, created_at, max_timestamp, window_lower, window_upper, row_count, source_uuid FROM offload_watermarks "
        "WHERE pipeline_id = %(pipeline)s AND table_name = %(table)s AND status IN ('initialized', 'success') "
        "AND (status = 'initialized' OR kind = 'restate' OR window_upper >= %(start)s OR max_timestamp >= %(start)s) ORDER BY id"
    )
    with ledger_errors():
        records = session.execute(query, {"pipeline": pipeline, "table": table, "start": start}).fetchall()
    return [PastStep.from_record(record) for record in records]


def _held(earlier: StoredAudit) -> int:
    """The rows that Iceberg held by an earlier audit; what was lost then stays lost until it is back or accepted."""
    found = earlier.differences
    lost = found.missing if earlier.finding is Finding.LOST else 0
    return earlier.cold.rows - found.duplicates + lost


def _without(gap: Interval, lower: datetime, upper: datetime) -> list[Interval]:
    """What a window leaves of a gap: it reads what lies after `lower`, up to `upper`."""
    parts = ((gap.start, min(gap.end, lower + MICROSECOND)), (max(gap.start, upper + MICROSECOND), gap.end))
    return [Interval(start, end) for start, end in parts if start < end]


def _restates(step: PastStep, compared: Interval) -> bool:
    if step.kind != "restate" or step.window_lower is None or step.window_upper is None:
        return False
    return step.window_lower < compared.end and step.window_upper >= compared.start


def _is_inside(step: PastStep, compared: Interval) -> bool:
    """Whether all rows of a step lie in an interval, those on its lower timestamp included."""
    return step.window_lower is not None and compared.start <= step.window_lower and step.last < compared.end
