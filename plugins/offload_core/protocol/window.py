"""Window arithmetic: which rows one run moves. Pure functions; the present is always an argument.

A window is open below and closed above: `(timestamp, sequence) > lower` as a pair, `timestamp <= upper`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from functools import total_ordering

from offload_core.errors import FixConfiguration, WatermarkInvalid

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
EARLIEST = datetime(1900, 1, 1, tzinfo=timezone.utc)
"""The first moment that ClickHouse's DateTime64 holds."""
MICROSECOND = timedelta(microseconds=1)
CLOCK_TOLERANCE = timedelta(minutes=15)
"""How far a watermark may lie ahead of ClickHouse's clock before it can't be true: one period, more than servers drift apart."""


def from_iso(text: str) -> datetime:
    """The moment that ISO 8601 names, with its zone or without one as it is written.

    Raises:
        ValueError: it is none.
    """
    # Python 3.10 does not read the Z that everybody writes.
    return datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)


def require_utc(moment: datetime, what: str) -> datetime:
    """Return `moment` in UTC.

    Raises:
        FixConfiguration: it has no time zone.
    """
    if moment.tzinfo is None:
        raise FixConfiguration(f"{what} {moment.isoformat()} has no time zone.", "Add one, for example +00:00.")
    utc = moment.astimezone(timezone.utc)
    # A plain datetime: subclasses such as Airflow's pendulum lose their zone in some arithmetic.
    return datetime(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.microsecond, timezone.utc)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970 (UTC), exactly; negative before."""
    return (moment - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """The moment `micros` microseconds after 1970, in UTC."""
    return EPOCH + timedelta(microseconds=micros)


@total_ordering
@dataclass(frozen=True)
class Cursor:
    """A position in a source table: the timestamp (UTC, microseconds) and, as the tie-breaker, the sequence number (0 to 2^64 - 1)."""

    timestamp: datetime
    sequence: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "timestamp", require_utc(self.timestamp, "The watermark"))

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Cursor):
            return NotImplemented
        return (self.timestamp, self.sequence) < (other.timestamp, other.sequence)

    def __str__(self) -> str:
        return f"{self.timestamp.isoformat(sep=' ')} #{self.sequence}"


ORIGIN = Cursor(EPOCH, 0)
"""The first watermark of a table (R18)."""


@dataclass(frozen=True)
class Window:
    """Rows after `lower` (exclusive, as a pair) up to `upper` (inclusive, UTC)."""

    lower: Cursor
    upper: datetime

    @property
    def is_behind(self) -> bool:
        """True if the window ends before it begins: its interval lies behind the watermark."""
        return self.upper < self.lower.timestamp

    def __str__(self) -> str:
        return f"({self.lower}, {self.upper.isoformat(sep=' ')}]"


@dataclass(frozen=True)
class Interval:
    """Rows that a re-run compares and repairs: from `start` (inclusive) to `end` (exclusive), UTC.

    Attributes:
        by_close: True where the interval is one of the schedule's: candles belong to the run in whose interval they closed. False
            where somebody named the times: rows count by their own timestamp.
    """

    start: datetime
    end: datetime
    by_close: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", require_utc(self.start, "The interval's start"))
        object.__setattr__(self, "end", require_utc(self.end, "The interval's end"))
        if self.start >= self.end:
            raise FixConfiguration(
                f"The interval from {self.start.isoformat(sep=' ')} to {self.end.isoformat(sep=' ')} holds nothing.",
                "Let it end after it starts; the end itself does not belong to it.",
            )

    @classmethod
    def of_run(cls, start: datetime, end: datetime, buffer: timedelta) -> Interval:
        """What the run of a data interval moves when nothing is late: `(start - buffer, end - buffer]`."""
        return cls(start - buffer + MICROSECOND, end - buffer + MICROSECOND, by_close=True)

    @property
    def last(self) -> datetime:
        """The last moment inside."""
        return self.end - MICROSECOND

    def up_to(self, moment: datetime) -> Interval | None:
        """The part up to `moment` (inclusive), None if there is none."""
        if moment < self.start:
            return None
        return Interval(self.start, min(self.end, moment + MICROSECOND), self.by_close)

    def __str__(self) -> str:
        return f"[{self.start.isoformat(sep=' ')}, {self.end.isoformat(sep=' ')})"


def plan_window(watermark: Cursor, source_now: datetime, interval_end: datetime | None, buffer: timedelta) -> Window:
    """The window of one run: from the watermark to `min(interval end, source's clock) - buffer` (R19).

    Args:
        watermark: the newest valid ledger row's cursor.
        source_now: ClickHouse's clock, so that a worker whose clock runs ahead can't skip rows.
        interval_end: end of the run's data interval, or None for a run by hand, which goes up to now.
        buffer: how long rows may take to arrive.

    Raises:
        WatermarkInvalid: the watermark lies in the future, or before all time that ClickHouse knows.
    """
    now = require_utc(source_now, "ClickHouse's clock")
    if watermark.timestamp < EARLIEST:
        raise WatermarkInvalid(
            f"The watermark {watermark} lies before {EARLIEST.date()}, the first day that ClickHouse can hold.",
            "Check the table's newest ledger rows (`offload history`), then choose a watermark with `offload reset`.",
        )
    if watermark.timestamp > now + CLOCK_TOLERANCE:
        raise WatermarkInvalid(
            f"The watermark {watermark} lies in the future: ClickHouse's clock says {now.isoformat(sep=' ')}.",
            "Check the clocks and the table's newest ledger rows (`offload history`), then choose a watermark with `offload reset`.",
        )
    end = now if interval_end is None else min(now, require_utc(interval_end, "The interval's end"))
    return Window(lower=watermark, upper=end - buffer)


class Partition(str, Enum):
    """The hidden Iceberg transform of the timestamp column."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    YEAR = "year"

    def floor(self, moment: datetime) -> datetime:
        """The start of the partition that holds `moment` (UTC, inclusive)."""
        moment = moment.astimezone(timezone.utc).replace(minute=0, second=0, microsecond=0)
        if self is Partition.HOUR:
            return moment
        if self is Partition.DAY:
            return moment.replace(hour=0)
        if self is Partition.MONTH:
            return moment.replace(hour=0, day=1)
        return moment.replace(hour=0, day=1, month=1)

    def next(self, moment: datetime) -> datetime:
        """The start of the partition after the one that holds `moment` (UTC)."""
        start = self.floor(moment)
        if self is Partition.HOUR:
            return start + timedelta(hours=1)
        if self is Partition.DAY:
            return start + timedelta(days=1)
        if self is Partition.MONTH:
            return self.floor(start + timedelta(days=32))
        return start.replace(year=start.year + 1)

    def path_value(self, moment: datetime) -> str:
        """The partition's value as Iceberg writes it into paths, for example `2026-11-19` for a day."""
        formats = {"hour": "%Y-%m-%d-%H", "day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}
        return self.floor(moment).strftime(formats[self.value])
