"""How mails, report, page and commands show moments, durations, numbers and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal

NOT_AVAILABLE = "n/a"
"""Shown in place of a value that is unknown."""
_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)


def clock(moment: datetime) -> str:
    """A moment to the minute, `2026-07-20 10:15`."""
    return moment.strftime("%Y-%m-%d %H:%M")


def clock_seconds(moment: datetime) -> str:
    """A moment to the second, `2026-07-20 10:15:30`."""
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def time_of_day(moment: datetime) -> str:
    """A moment without its date, `10:15`."""
    return moment.strftime("%H:%M")


def duration(value: timedelta | None) -> str:
    """A duration in its two largest units, `2 h 10 min`; seconds only below an hour."""
    if value is None:
        return NOT_AVAILABLE
    seconds = int(value.total_seconds())
    for size, unit, part, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size} {unit} {rest} {smaller}" if rest else f"{seconds // size} {unit}"
    return f"{seconds} s" if seconds or not value else "under 1 s"


def rough_duration(value: timedelta) -> str:
    """A duration without seconds from one minute on, and without hours from three days on."""
    if value < _MINUTE:
        return f"{int(value.total_seconds())} s"
    if value >= 3 * _DAY:
        return f"{value // _DAY} d"
    return duration(value - value % _MINUTE)


def duration_in_words(value: timedelta) -> str:
    """A threshold as part of a sentence: `20 minutes`, `an hour`, `2 hours`."""
    hours, minutes = value / timedelta(hours=1), value / _MINUTE
    if hours >= 1 and hours.is_integer():
        return "an hour" if hours == 1 else f"{hours:.0f} hours"
    return f"{minutes:.4g} minutes"


def ago(value: timedelta) -> str:
    """How long ago something was, or how far ahead it lies: `5 min ago`, `in 2 h`."""
    return f"in {rough_duration(-value)}" if value < timedelta() else f"{rough_duration(value)} ago"


def amount(value: int | None) -> str:
    """A whole number with thousands separators."""
    return NOT_AVAILABLE if value is None else f"{value:,}"


def count(number: int, thing: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def percent(value: float | None) -> str:
    """A fraction in percent, rounded down so that only the whole is 100 %."""
    if value is None:
        return NOT_AVAILABLE
    number = (Decimal(str(value)) * 100).quantize(Decimal("0.01"), ROUND_FLOOR)
    return f"{number.normalize():f} %" if number == number.to_integral() else f"{number} %"


def percent_change(now: int, before: int | None) -> str:
    """How much more or less than before, in percent."""
    return f"{now / before - 1:+.0%}".replace("%", " %") if before else NOT_AVAILABLE


def byte_size(value: int) -> str:
    """Bytes in the unit that leaves a number below 1,000."""
    number = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:,.1f} TiB"


def name_list(names: Sequence[str], most: int = 3) -> str:
    """All names, or the first `most` of them and how many more there are."""
    if len(names) <= most + 1:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} others"


@dataclass(frozen=True)
class RunbookLink:
    """A runbook: its file name, and its address if the setting `runbook_url` gives one."""

    name: str
    address: str | None

    def __str__(self) -> str:
        return self.address or f"docs/runbooks/{self.name}"


def runbook_link(name: str, runbook_url: str | None) -> RunbookLink:
    """The link to a runbook.

    Args:
        name: its file name.
        runbook_url: the address below which all runbooks can be read; None if the settings have none.
    """
    return RunbookLink(name, f"{runbook_url.rstrip('/')}/{name}" if runbook_url else None)
