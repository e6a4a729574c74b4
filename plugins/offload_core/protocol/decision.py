"""Whether a table's Spark job has something to do: from the plan of a run to the decision of the sensor.

`decide` is a pure function of its arguments. What only a server knows, it asks through them, and only if it matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from offload_core.errors import OffloadError, RepairInterval, RestateInterval
from offload_core.protocol.plan import RunMode, RunPlan
from offload_core.protocol.window import Cursor, Interval, Window

_NO_NEW_DATA = "No new data to offload"


@dataclass(frozen=True)
class Run:
    """The Spark job has something to do.

    Attributes:
        reason: why, as a sentence for the log.
    """

    reason: str


@dataclass(frozen=True)
class Wait:
    """The decision has to be made again later.

    Attributes:
        reason: why, as a sentence for the log.
    """

    reason: str


@dataclass(frozen=True)
class Skip:
    """The Spark job has nothing to do.

    Attributes:
        note: why, in a few words for the run's summary.
        reason: why, as a sentence for the log.
        empty: a window without rows, which has to be recorded so that the lag clock restarts; None if there is none.
    """

    note: str
    reason: str
    empty: Window | None = None


@dataclass(frozen=True)
class Differs:
    """The tiers differ, and the run must not change them: the difference is its result.

    Attributes:
        difference: what each tier holds, as a sentence.
        is_incomplete: whether Iceberg holds fewer rows than ClickHouse.
    """

    difference: str
    is_incomplete: bool

    def error(self) -> OffloadError:
        """The error that tells the operator which mode resolves the difference."""
        if self.is_incomplete:
            return RepairInterval(
                self.difference, "Run the same interval with mode repair, which inserts the missing rows."
            )
        return RestateInterval(self.difference, "Run the same interval with mode restate, which replaces it.")


Decision = Run | Wait | Skip | Differs


class TierRows(Protocol):
    """Count and hash of one tier's rows."""

    @property
    def rows(self) -> int:
        """The number of rows."""


class Comparison(Protocol):
    """Both tiers of a table in an interval."""

    @property
    def start(self) -> datetime | None:
        """The time from which ClickHouse still holds all rows (UTC); None if it holds none."""

    @property
    def hot(self) -> TierRows:
        """ClickHouse's rows."""

    @property
    def cold(self) -> TierRows:
        """Iceberg's rows."""

    @property
    def equal(self) -> bool:
        """Whether both tiers hold the same rows."""


def decide(
    table: str,
    mode: RunMode,
    plan: RunPlan,
    watermark: Cursor,
    *,
    has_rows: Callable[[Window], bool],
    compare: Callable[[Interval], Comparison],
) -> Decision:
    """Decide whether one table's Spark job has something to do in a run.

    Args:
        table: the table's short name.
        mode: what the run does.
        plan: the run's plan for the table.
        watermark: the table's watermark.
        has_rows: tells whether ClickHouse has rows in a window.
        compare: compares both tiers in an interval.

    Raises:
        OffloadError: `has_rows` or `compare` raised it.
    """
    if plan.ahead is not None and has_rows(plan.ahead):
        return Run(f"{table} has new rows in {plan.ahead}.")
    if plan.behind is not None:
        if mode is RunMode.RESTATE:
            return Run(f"{table} is to be restated in {plan.behind}.")
        return _decide_compared(table, mode, plan.behind, compare(plan.behind))
    if mode is RunMode.OFFLOAD and plan.ahead is not None:
        return Skip(_NO_NEW_DATA, f"{_NO_NEW_DATA}: {table} has no row in {plan.ahead}.", empty=plan.ahead)
    note = _NO_NEW_DATA if mode in (RunMode.OFFLOAD, RunMode.REPAIR) else "nothing offloaded there yet"
    return Skip(note, f"{note}: the watermark of {table} is {watermark}.")


def _decide_compared(table: str, mode: RunMode, interval: Interval, found: Comparison) -> Decision:
    """The decision about an interval that has been offloaded before."""
    if found.start is None or found.start > interval.last:
        return Skip("no longer in ClickHouse", f"ClickHouse no longer holds {table} in {interval}: nothing to compare.")
    if found.equal:
        note = f"verified, {found.hot.rows:,} rows equal"
        return Skip(note, f"{table} in {interval}: {note}; nothing to do.")
    difference = f"{table} differs in {interval}: ClickHouse has {found.hot}, Iceberg has {found.cold}."
    if mode is RunMode.VERIFY:
        return Differs(difference, is_incomplete=found.hot.rows > found.cold.rows)
    return Run(difference)
