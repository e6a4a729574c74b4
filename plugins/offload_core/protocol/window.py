"""Window arithmetic: which rows one run moves. Pure functions; the present is always an argument.

A window is open below and closed above: `(timestamp, sequence) > lower` as a pair, `timestamp <= upper`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import total_ordering

from offload_core.errors import FixConfiguration, WatermarkInvalid

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
EARLIEST = datetime(1900, 1, 1, tzinfo=timezone.utc)
"""The first moment that ClickHouse's DateTime64 holds."""
MICROSECOND = timedelta(microseconds=1)
CLOCK_TOLERANCE = timedelta(minutes=15)
"""How far a watermark may lie ahead of ClickHouse's clock: one period, more than servers' clocks drift apart."""


def from_iso(text: str) -> datetime:
    """The moment that a text in ISO 8601 names, with a zone only if the text has one.

    Raises:
        ValueError: the text is not a timestamp.
    """
    # Python 3.10 does not read the Z for UTC.
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
    """A position in a source table: timestamp (UTC, microseconds) and sequence number (0 to 2^64 - 1)."""

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
"""The first watermark of a table."""


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
    """The rows that a re-run compares and repairs: from `start` (inclusive) to `end` (exclusive), UTC.

    Attributes:
        by_close: True if the interval is one of the schedule's: candles belong to the run in whose interval they
            closed. False if somebody named the times: rows belong to it by their own timestamp.
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
                "Choose an end after the start; the end itself does not belong to the interval.",
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
    """The window of one run: from the watermark to `min(interval end, source's clock) - buffer`.

    Args:
        watermark: the newest valid ledger row's cursor.
        source_now: ClickHouse's clock, so that a worker whose clock is fast cannot skip rows.
        interval_end: end of the run's data interval, or None for a run by hand, which goes up to now.
        buffer: how long rows may take to arrive.

    Raises:
        WatermarkInvalid: the watermark lies in the future, or before the first moment that ClickHouse can hold.
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
            "Check the clocks and the table's newest ledger rows (`offload history`), then choose a watermark with "
            "`offload reset`.",
        )
    end = now if interval_end is None else min(now, require_utc(interval_end, "The interval's end"))
    return Window(lower=watermark, upper=end - buffer)
