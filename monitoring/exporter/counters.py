"""Counters made of the ledger's rows: each row counts once, from the moment this exporter first looked.

They can't be sums over the ledger: its old rows are deleted, and a counter that falls looks to Prometheus as if all of the rest had
happened this moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from offload_core.errors import OffloadError
from offload_core.ledger.cycle_time import StepRow

_FAILED = frozenset({"failure", "halt"})


@dataclass(frozen=True)
class Counted:
    """What has been counted so far.

    Attributes:
        rows: rows offloaded, by table.
        late_rows: rows that arrived after their window and were inserted by a repair, by table.
        errors: failed attempts and halts, by kind of error; every kind is there from the start.
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

    def count(self, steps: Sequence[StepRow], tables: Iterable[str], oldest: datetime) -> Counted:
        """Count what is new, and return all that has been counted.

        Args:
            steps: the ledger's rows since the last look and some before it; those of the first look are the past, and not counted.
            tables: the tables that are known: theirs begin at zero.
            oldest: rows from before this moment (UTC) do not come again.
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

    def _add(self, step: StepRow) -> None:
        self._steps[step.table_name, step.kind] += 1
        if step.kind in ("increment", "recovered"):
            self._rows[step.table_name] += step.row_count
        elif step.kind == "repair":
            self._late_rows[step.table_name] += step.row_count
        elif step.kind in _FAILED:
            self._errors[step.error_kind or OffloadError.kind] += 1


def error_kinds(base: type[OffloadError] = OffloadError) -> set[str]:
    """All kinds of errors that the offload tells apart (R35)."""
    return {base.kind}.union(*(error_kinds(child) for child in base.__subclasses__()))
