"""What one run has to do with a table: which rows lie ahead of the watermark, and which interval behind it is compared.

The contract of every run: once it has succeeded, Iceberg holds exactly ClickHouse's rows up to its interval's end minus
the buffer. The sensor and the job share these pure functions, so that both always decide alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from offload_core.errors import FixConfiguration
from offload_core.protocol.window import MICROSECOND, Cursor, Interval, Window, plan_window


class RunMode(str, Enum):
    """What a run is for."""

    OFFLOAD = "offload"
    """Move new rows; compare an interval that has been offloaded before, and insert what is missing."""
    REPAIR = "repair"
    """Compare an interval that somebody named, wherever it lies, and insert what is missing."""
    RESTATE = "restate"
    """Replace an offloaded interval by the rows that ClickHouse holds now."""
    VERIFY = "verify"
    """Only compare; change nothing."""


@dataclass(frozen=True)
class RunPlan:
    """One run of one table.

    Attributes:
        ahead: rows past the watermark; None if the run doesn't reach that far.
        behind: an interval that has been offloaded before and is compared; None if there is none. With one, the run is
            a re-run, and an empty window ahead is not recorded.
    """

    ahead: Window | None
    behind: Interval | None


@dataclass(frozen=True)
class Progress:
    """How far a table is.

    Attributes:
        watermark: the newest valid ledger row's cursor.
        seen_until: the latest moment up to which a run has read (UTC); it lies past the watermark if the last rows were
            older than their window's end. None if no run has read since an operator set the watermark.
    """

    watermark: Cursor
    seen_until: datetime | None

    @property
    def done_until(self) -> datetime:
        """The moment (UTC, inclusive) up to which an increment cannot bring any more rows."""
        return max(self.watermark.timestamp, self.seen_until or self.watermark.timestamp)


def plan_run(
    mode: RunMode,
    start: datetime | None,
    end: datetime | None,
    progress: Progress,
    source_now: datetime,
    buffer: timedelta,
) -> RunPlan:
    """Plan one run of one table.

    Args:
        mode: what the run is for.
        start, end: in mode `offload` the run's data interval, None for a run by hand, which goes up to now. In the
            other modes the interval that somebody named, in the rows' own time.
        progress: how far the table has been offloaded.
        source_now: ClickHouse's clock.
        buffer: how long rows may take to arrive.

    Raises:
        WatermarkInvalid: the watermark lies in the future.
        FixConfiguration: the mode needs an interval, and there is none.
    """
    if mode is RunMode.OFFLOAD:
        window = plan_window(progress.watermark, source_now, end, buffer)
        ahead = None if window.is_behind else window
        if start is None or end is None or window.upper > progress.done_until:
            return RunPlan(ahead, None)
        return RunPlan(ahead, Interval.of_run(start, end, buffer))
    if start is None or end is None:
        raise FixConfiguration(
            f"Mode {mode.value} needs an interval.", "Give both `from` and `to`, for example 2026-11-20T10:00:00+00:00."
        )
    named = Interval(start, end)
    behind = named.up_to(progress.done_until)
    if mode is not RunMode.REPAIR:
        return RunPlan(None, behind)
    # The named times are the rows' own: the buffer applies to ClickHouse's present only, so it is added back here.
    window = plan_window(progress.watermark, source_now, named.end + buffer - MICROSECOND, buffer)
    return RunPlan(None if window.is_behind else window, behind)
