"""The windows that an audit compares one by one: an even grid of days, hours or minutes.

A run moves `(start - buffer, end - buffer]` of an append table, so its hours are shifted back by the buffer: the files of regular cycles
then fall whole into one window, and the next audit of that window finds the very same files. Candles are counted by the start of their
period and rewritten by the partition; their hours, and all days and minutes, are those of the clock.
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


class Grain(str, Enum):
    """How wide the windows are."""

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
        width: of each window.
        origin: the start of one of them (UTC).
    """

    width: timedelta
    origin: datetime

    def start(self, moment: datetime) -> datetime:
        """The start of the window that holds a moment."""
        return self.origin + (moment - self.origin) // self.width * self.width

    def rounded(self, span: Interval) -> Interval:
        """A span extended to whole windows."""
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


def grid(table: TableConfig, settings: Settings, grain: Grain) -> Grid:
    """The windows of a table."""
    shifted = grain is Grain.HOUR and table.write_mode is WriteMode.APPEND
    shift = MICROSECOND - timedelta(minutes=settings.buffer_minutes) if shifted else timedelta()
    return Grid(grain.width, EPOCH + shift)


def recent(watermark: Cursor, hours: int, windows: Grid) -> Interval:
    """The window that holds the watermark and as many hours before it.

    Counting back from the watermark, not from the clock, also finds the newest candle of a table whose periods are longer than that.
    """
    newest = windows.start(watermark.timestamp)
    return Interval(newest - timedelta(hours=hours), newest + windows.width)
