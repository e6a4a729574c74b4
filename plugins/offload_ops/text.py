"""How the report writes its figures; the mail, the file and the text all write them like this."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal

NOTHING = "n/a"
"""What stands where there is no figure."""


def amount(value: int | None) -> str:
    """A whole number with its thousands set apart."""
    return NOTHING if value is None else f"{value:,}"


def share(value: float | None) -> str:
    """A share in percent, rounded down: only all of it is 100 %."""
    if value is None:
        return NOTHING
    percent = (Decimal(str(value)) * 100).quantize(Decimal("0.01"), ROUND_FLOOR)
    return f"{percent.normalize():f} %" if percent == percent.to_integral() else f"{percent} %"


def change(now: int, before: int | None) -> str:
    """How much more or less than before, in percent."""
    return f"{now / before - 1:+.0%}".replace("%", " %") if before else NOTHING


def duration(value: timedelta | None) -> str:
    """A duration in its two greatest units, `2 h 10 min`; seconds only below an hour."""
    if value is None:
        return NOTHING
    seconds = int(value.total_seconds())
    for size, unit, part, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size} {unit} {rest} {smaller}" if rest else f"{seconds // size} {unit}"
    return f"{seconds} s" if seconds or not value else "under 1 s"


def in_words(value: timedelta) -> str:
    """A threshold in a sentence: `20 minutes`, `an hour`, `2 hours`."""
    hours, minutes = value / timedelta(hours=1), value / timedelta(minutes=1)
    if hours >= 1 and hours.is_integer():
        return "an hour" if hours == 1 else f"{hours:.0f} hours"
    return f"{minutes:.4g} minutes"


def size(value: int) -> str:
    """Bytes in the unit that leaves a number below 1,000."""
    number = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:,.1f} TiB"


def clock(moment: datetime) -> str:
    """A moment to the minute."""
    return moment.strftime("%Y-%m-%d %H:%M")


def listed(names: Sequence[str], most: int = 3) -> str:
    """Names in a row, or the first ones and how many there are besides."""
    if len(names) <= most + 1:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} others"
