"""The result of one cycle, table by table, in the log lines that operators search for.

This module does not depend on Airflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from offload_core.ledger.rows import LedgerRow, RowStatus, StepKind

_DONE = {StepKind.REPAIR: "repaired", StepKind.RESTATE: "restated"}
"""What a step behind the watermark did with the rows, by its kind."""


@dataclass(frozen=True)
class TableTasks:
    """The two tasks of one table, by id."""

    table: str
    wait: str
    offload: str


@dataclass(frozen=True)
class Outcome:
    """The result of one table in one cycle.

    Attributes:
        rows: how many rows were published.
        seconds: how long the successful steps took.
        problem: why the table failed; None if it did not.
        note: why there was nothing to offload, in a few words.
        kind: what happened to the rows.
    """

    table: str
    rows: int
    seconds: float
    problem: str | None
    note: str = "No new data to offload"
    kind: str = "offloaded"

    def line(self) -> str:
        """One line for the log."""
        if self.problem is not None:
            return f"✗ Offload failed: {self.table}: {self.problem}"
        if not self.rows:
            return f"✓ {self.table}: {self.note}"
        return f"✓ {self.table}: Rows {self.kind}: {self.rows}, {self.seconds:.1f} s"


def outcomes(
    tables: Sequence[TableTasks],
    states: Mapping[str, str | None],
    rows: Iterable[LedgerRow],
    notes: Mapping[str, str],
) -> list[Outcome]:
    """The result of each table.

    Args:
        tables: the run's tables.
        states: the state of every task of the run, by id.
        rows: the ledger's rows of this run, oldest first.
        notes: the notes that tasks of the run have stored, by task id.
    """
    by_table: dict[str, list[LedgerRow]] = {}
    for row in rows:
        by_table.setdefault(row.table_name, []).append(row)
    return [_outcome(table, states, by_table.get(table.table, []), notes.get(table.wait)) for table in tables]


def _outcome(
    tasks: TableTasks, states: Mapping[str, str | None], rows: Sequence[LedgerRow], note: str | None
) -> Outcome:
    steps = [row for row in rows if row.status is RowStatus.SUCCESS]
    published = sum(row.row_count for row in steps)
    seconds = sum(row.last_run_duration_seconds or 0 for row in steps)
    kinds = [_DONE.get(row.kind, "offloaded") for row in steps if row.row_count]
    outcome = Outcome(tasks.table, published, seconds, None, kind=" and ".join(dict.fromkeys(kinds)))
    wait, offload = states.get(tasks.wait), states.get(tasks.offload)
    if offload == "success" or (wait in ("success", "skipped") and offload == "skipped"):
        return replace(outcome, note=note) if note else outcome
    recorded = next((row.last_error_message for row in reversed(rows) if row.last_error_message), None)
    failed = tasks.wait if wait != "success" else tasks.offload
    return replace(outcome, problem=recorded or note or f"see the log of {failed} ({states.get(failed)})")


def completed_line(results: Sequence[Outcome], started: datetime, now: datetime) -> str:
    """The cycle's summary line. Scripts read the duration from its second last word."""
    failed = sum(result.problem is not None for result in results)
    parts = [
        "OFFLOAD CYCLE COMPLETED",
        f"Success: {len(results) - failed}",
        f"Failed: {failed}",
        f"Rows offloaded: {sum(result.rows for result in results)}",
        f"Duration: {(now - started).total_seconds():.1f} seconds",
    ]
    return " | ".join(parts)
