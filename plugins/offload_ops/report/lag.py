"""How late a table was over a period, exactly: its lag starts at zero with every success and grows until the next one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from offload_core.config.lag import LagLevel, LagMinutes

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Freshness:
    """How late a table was.

    Attributes:
        observed: how much of the period is known: from the table's first ledger row to the period's end or the present.
        late, too_late: how long its lag was over the bound of Warning, below which it is expected to stay, and over that of Critical, the
            objective (R89).
        longest: its greatest lag.
        by_hour: its greatest lag in each hour of the period; None where it is not known.
    """

    observed: timedelta
    late: timedelta
    too_late: timedelta
    longest: timedelta
    by_hour: tuple[timedelta | None, ...]


@dataclass(frozen=True)
class _Stretch:
    """From `begin` to `end`, the lag is the time since `zero`."""

    zero: datetime
    begin: datetime
    end: datetime

    def over(self, bound: timedelta) -> timedelta:
        return max(self.end - max(self.begin, self.zero + bound), timedelta())

    def hours(self, start: datetime) -> Iterator[tuple[int, timedelta]]:
        """Each hour after `start` that it touches, and its greatest lag in there."""
        for hour in range((self.begin - start) // HOUR, -((start - self.end) // HOUR)):
            yield hour, min(self.end, start + (hour + 1) * HOUR) - self.zero


def freshness(
    successes: Iterable[datetime],
    since: datetime,
    start: datetime,
    end: datetime,
    until: datetime,
    bounds: LagMinutes,
) -> Freshness:
    """How late a table was from `start` to `end`.

    Args:
        successes: when the table was offloaded with success; the last time before `start` among them, if there was one.
        since: the table's first ledger row. Until the first success, its lag counts from here.
        start, end: the period.
        until: where the known part of the period ends: at its end, or now.
        bounds: the levels' bounds.
    """
    stretches = list(_stretches(successes, since, max(start, since), until))
    by_hour: list[timedelta | None] = [None] * -((start - end) // HOUR)
    for stretch in stretches:
        for hour, lag in stretch.hours(start):
            by_hour[hour] = max(by_hour[hour] or timedelta(), lag)
    return Freshness(
        observed=sum((stretch.end - stretch.begin for stretch in stretches), timedelta()),
        late=sum((stretch.over(bounds.bound(LagLevel.WARNING)) for stretch in stretches), timedelta()),
        too_late=sum((stretch.over(bounds.bound(LagLevel.CRITICAL)) for stretch in stretches), timedelta()),
        longest=max((stretch.end - stretch.zero for stretch in stretches), default=timedelta()),
        by_hour=tuple(by_hour),
    )


def _stretches(successes: Iterable[datetime], since: datetime, begin: datetime, end: datetime) -> Iterator[_Stretch]:
    zeros = sorted(set(successes))
    if not zeros or zeros[0] > since:
        zeros.insert(0, since)
    for zero, following in pairwise([*zeros, end]):
        stretch = _Stretch(zero, max(zero, begin), min(following, end))
        if stretch.begin < stretch.end:
            yield stretch
