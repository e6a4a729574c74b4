"""What the ledger says about a table: its watermark, what no run has read, how many rows Iceberg must hold at least."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from offload_core.config.tables import TableConfig, WriteMode
from offload_core.ledger.reader import LedgerReader
from offload_core.ledger.rows import LedgerRow, StepKind
from offload_core.ledger.session import LedgerConnection
from offload_core.protocol.window import EARLIEST, EPOCH, MICROSECOND, Cursor, Interval
from offload_ops.audit.model import Finding
from offload_ops.audit.store import StoredAudit

_SET_BY_HAND = (StepKind.INIT, StepKind.RESET)


@dataclass(frozen=True)
class OffloadHistory:
    """The ledger's side of one audit, read before anything else.

    Attributes:
        table: the table's entry.
        span: the span that is audited.
        watermark: its watermark, halted or not.
        last_commit: the newest row that published a snapshot; None before the first commit, or if an operator has
            accepted Iceberg's table as it is since.
        steps: the valid rows that reach into the span or beyond it, and all rows of operators, oldest first.
    """

    table: TableConfig
    span: Interval
    watermark: Cursor
    last_commit: LedgerRow | None
    steps: Sequence[LedgerRow]

    @property
    def closed_by(self) -> datetime | None:
        """Upsert tables: only periods closed by this moment (UTC) have been offloaded. None for append tables."""
        if self.table.write_mode is WriteMode.APPEND:
            return None
        ends = [step.window_upper for step in self.steps if step.window_upper is not None]
        return max(ends, default=self.watermark.timestamp)

    @property
    def skipped(self) -> list[Interval]:
        """The intervals that an operator's watermark skipped and no run has read since."""
        gaps: list[Interval] = []
        reached = EARLIEST
        for step in self.steps:
            if step.kind in _SET_BY_HAND and step.cursor.timestamp > reached:
                gaps.append(Interval(reached, step.cursor.timestamp + MICROSECOND))
            elif step.window_lower is not None and step.window_upper is not None:
                gaps = [rest for gap in gaps for rest in _without(gap, step.window_lower, step.window_upper)]
            reached = max(reached, step.cursor.timestamp)
        return gaps

    def replaced_until(self, source_uuid: str) -> datetime | None:
        """The last moment (UTC) of the rows that came from an earlier ClickHouse table; None if there are none."""
        others = [step.cursor.timestamp for step in self.steps if _is_of_another_table(step, source_uuid)]
        return max(others, default=None)

    def held_from(self, source_uuid: str) -> datetime | None:
        """The earliest moment (UTC) after which this ClickHouse table is known to have held rows; None if unknown."""
        starts = [
            step.window_lower
            for step in self.steps
            if step.kind is StepKind.INCREMENT
            and step.row_count
            and str(step.source_uuid) == source_uuid
            and step.window_lower is not None
        ]
        return min((start for start in starts if start > EPOCH), default=None)

    def rows_at_least(self, compared: Interval, earlier: StoredAudit | None) -> int:
        """How many rows of an interval Iceberg has certainly held, by this pipeline's commits and an earlier audit.

        Nothing counts that was before an operator accepted the table as it is (`resume`) or replaced rows of the
        interval (`restate`).
        """
        accepted = [step for step in self.steps if step.kind is StepKind.RESUME or _restates(step, compared)]
        after = max((step.id for step in accepted), default=0)
        committed = sum(step.row_count for step in self._increments(after) if _is_inside(step, compared))
        since = max((step.created_at for step in accepted), default=None)
        if earlier is None or (since is not None and earlier.created_at <= since):
            return committed
        is_part = compared.start <= earlier.compared.start and earlier.compared.end <= compared.end
        return max(committed, _rows_held(earlier)) if is_part else committed

    def _increments(self, after: int) -> list[LedgerRow]:
        """The increments newer than a row. Of upsert tables only those after a reset, which count their rows again."""
        if self.table.write_mode is WriteMode.UPSERT:
            after = max([after, *(step.id for step in self.steps if step.kind is StepKind.RESET)])
        return [step for step in self.steps if step.kind is StepKind.INCREMENT and step.id > after]


def read_history(
    session: LedgerConnection, pipeline: str, table: TableConfig, span_of: Callable[[Cursor], Interval]
) -> OffloadHistory:
    """Read what the ledger says about a span of a table.

    Args:
        session: PostgreSQL.
        pipeline: pipeline id.
        table: the table's entry.
        span_of: the span, which may depend on the watermark.

    Raises:
        WatermarkNotFound, RunInit: the table has no watermark yet, or there is no ledger.
        LedgerUnavailable, FixCredentials: PostgreSQL cannot be read.
    """
    ledger = LedgerReader(session, pipeline)
    # The watermark is read first: a commit that is recorded meanwhile is then newer than what is compared, never older.
    watermark = ledger.cursor(table.name)
    span = span_of(watermark)
    steps = ledger.steps_reaching(table.name, span.start)
    return OffloadHistory(table, span, watermark, ledger.last_commit(table.name), steps)


def _rows_held(earlier: StoredAudit) -> int:
    """The rows that Iceberg held by an earlier audit. Lost rows count until they are back or their loss is accepted."""
    differences = earlier.differences
    lost = differences.missing if earlier.finding is Finding.LOST else 0
    return earlier.cold.rows - differences.duplicates + lost


def _is_of_another_table(step: LedgerRow, source_uuid: str) -> bool:
    return step.source_uuid is not None and str(step.source_uuid) != source_uuid


def _without(gap: Interval, lower: datetime, upper: datetime) -> list[Interval]:
    """What is left of a gap after a run has read the rows after `lower`, up to `upper` (inclusive)."""
    parts = ((gap.start, min(gap.end, lower + MICROSECOND)), (max(gap.start, upper + MICROSECOND), gap.end))
    return [Interval(start, end) for start, end in parts if start < end]


def _restates(step: LedgerRow, compared: Interval) -> bool:
    if step.kind is not StepKind.RESTATE or step.window_lower is None or step.window_upper is None:
        return False
    return step.window_lower < compared.end and step.window_upper >= compared.start


def _is_inside(step: LedgerRow, compared: Interval) -> bool:
    """Whether all rows of a step lie in an interval, including rows with its lower timestamp."""
    lower = step.window_lower
    return lower is not None and compared.start <= lower and step.cursor.timestamp < compared.end
