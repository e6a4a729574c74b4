"""The windows that an audit compares one by one: an even grid of days, hours or minutes.

A run moves `(start - buffer, end - buffer]` of an append table, so the hours of append tables are shifted back by the
buffer. The files of a regular cycle then lie within one window, and the next audit of that window finds the very same
files. Candles are counted by the start of their period and rewritten by partition; their hours, and all days and
minutes, are those of the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from offload_core.config.settings import Settings
from offload_core.config.tables import TableConfig, WriteMode
from offload_core.errors import FixConfiguration
from offload_core.protocol.window import EPOCH, MICROSECOND, Cursor, Interval

_MOST_WINDOWS = 20_000
"""Windows that one audit compares at most."""


class Grain(str, Enum):
    """The width of the windows."""

    DAY = "day"
    HOUR = "hour"
    MINUTE = "minute"

    @property
    def width(self) -> timedelta:
        """The length of one window."""
        return {Grain.DAY: timedelta(days=1), Grain.HOUR: timedelta(hours=1), Grain.MINUTE: timedelta(minutes=1)}[self]


@dataclass(frozen=True)
class Grid:
    """All windows of one width.

    Attributes:
        width: the length of each window.
        origin: the start of any of them (UTC).
    """

    width: timedelta
    origin: datetime

    def start(self, moment: datetime) -> datetime:
        """The start of the window that holds a moment."""
        return self.origin + (moment - self.origin) // self.width * self.width

    def round_out(self, span: Interval) -> Interval:
        """The span extended to whole windows."""
        return Interval(self.start(span.start), self.start(span.last) + self.width)

    def windows(self, span: Interval) -> list[Interval]:
        """The windows that a span touches, in order of time.

        Raises:
            FixConfiguration: there are too many.
        """
        first = self.start(span.start)
        count = (span.last - first) // self.width + 1
        if count > _MOST_WINDOWS:
            raise FixConfiguration(
                f"There are {count:,} windows in {span}, and one audit compares at most {_MOST_WINDOWS:,}.",
                "Choose a shorter interval or wider windows (`--by day`).",
            )
        return [
            Interval(first + number * self.width, first + (number + 1) * self.width) for number in range(max(count, 0))
        ]


def window_grid(table: TableConfig, settings: Settings, grain: Grain) -> Grid:
    """The grid of a table's windows."""
    shifted = grain is Grain.HOUR and table.write_mode is WriteMode.APPEND
    shift = MICROSECOND - timedelta(minutes=settings.buffer_minutes) if shifted else timedelta()
    return Grid(grain.width, EPOCH + shift)


def recent_span(watermark: Cursor, hours: int, grid: Grid) -> Interval:
    """The window that holds the watermark, and the hours before it.

    It counts back from the watermark, not from the clock, so that it also finds the newest candle of a table with
    longer periods.
    """
    newest = grid.start(watermark.timestamp)
    return Interval(newest - timedelta(hours=hours), newest + grid.width)
