"""Counters over the ledger's rows: each row counts once, from the exporter's first reading on.

They can't be sums over the ledger, whose old rows are deleted: Prometheus takes a counter that falls for a restart, and
counts all that is left as new.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from offload_core.errors import OffloadError
from offload_core.ledger.rows import FAILED_KINDS, OFFLOADED_KINDS, LedgerRow, StepKind


@dataclass(frozen=True)
class Counted:
    """The counts so far.

    Attributes:
        rows: rows offloaded, by table.
        late_rows: rows that arrived after their window and were inserted by a repair, by table.
        errors: failed attempts and halts, by kind of error; every kind begins at zero.
        steps: ledger rows, by table and kind.
    """

    rows: Mapping[str, int]
    late_rows: Mapping[str, int]
    errors: Mapping[str, int]
    steps: Mapping[tuple[str, str], int]


class StepCounters:
    """Counts the ledger's rows."""

    def __init__(self) -> None:
        self._seen: dict[int, datetime] | None = None
        self._rows: Counter[str] = Counter()
        self._late_rows: Counter[str] = Counter()
        self._errors: Counter[str] = Counter(dict.fromkeys(error_kinds(), 0))
        self._steps: Counter[tuple[str, str]] = Counter()

    def count(self, steps: Sequence[LedgerRow], tables: Iterable[str], oldest: datetime) -> Counted:
        """Count the new rows, and return the counts so far.

        Args:
            steps: the ledger's rows since the previous call and some before it; the rows of the first call are history
                and don't count.
            tables: the known tables, whose counters begin at zero.
            oldest: no later call gets rows from before this moment (UTC).
        """
        for table in tables:
            self._rows[table] += 0
            self._late_rows[table] += 0
        new = [] if self._seen is None else [step for step in steps if step.id not in self._seen]
        for step in new:
            self._add(step)
        seen = {**(self._seen or {}), **{step.id: step.created_at for step in steps}}
        self._seen = {number: at for number, at in seen.items() if at >= oldest}
        return Counted(dict(self._rows), dict(self._late_rows), dict(self._errors), dict(self._steps))

    def _add(self, step: LedgerRow) -> None:
        self._steps[step.table_name, step.kind.value] += 1
        if step.kind in OFFLOADED_KINDS:
            self._rows[step.table_name] += step.row_count
        elif step.kind is StepKind.REPAIR:
            self._late_rows[step.table_name] += step.row_count
        elif step.kind in FAILED_KINDS:
            self._errors[step.error_kind or OffloadError.kind] += 1


def error_kinds(base: type[OffloadError] = OffloadError) -> set[str]:
    """All kinds of errors that the offload distinguishes."""
    return {base.kind}.union(*(error_kinds(child) for child in base.__subclasses__()))
