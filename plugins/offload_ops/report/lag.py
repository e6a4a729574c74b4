"""Exactly how late a table was over a period: its lag starts at zero with each success and grows until the next one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from offload_core.config.lag import LagLevel, LagMinutes
from offload_core.ledger.history import LedgerHistory
from offload_core.protocol.window import Interval

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class LagPeriod:
    """The period that lag is measured over.

    Attributes:
        period: the period.
        bounds: the bounds of the levels.
        now: the present (UTC); the lag after it is unknown.
    """

    period: Interval
    bounds: LagMinutes
    now: datetime

    @property
    def until(self) -> datetime:
        """Where the known part of the period ends."""
        return min(self.period.end, self.now)


@dataclass(frozen=True)
class Freshness:
    """How late a table was.

    Attributes:
        observed: how much of the period is known: from the table's first ledger row to the period's end or the present.
        late: how long its lag was above the bound of Warning, below which it is expected to stay.
        too_late: how long its lag was above the bound of Critical, the objective.
        longest: its longest lag.
        by_hour: its longest lag in each hour of the period; None where it is unknown.
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
        """Each hour after `start` that it touches, and the longest lag in that hour."""
        # The negated floor division rounds up, so that the last hour counts even if it is not complete.
        for hour in range((self.begin - start) // HOUR, -((start - self.end) // HOUR)):
            yield hour, min(self.end, start + (hour + 1) * HOUR) - self.zero


def table_freshness(table: str, history: LedgerHistory, measured: LagPeriod) -> Freshness | None:
    """How late a table was; None if its first ledger row is later than the period.

    Args:
        table: its name.
        history: the ledger's rows of the period.
        measured: the period.
    """
    since = history.since.get(table)
    if since is None or since >= measured.until:
        return None
    # Every row repeats when the table had last been offloaded with success.
    rows = [history.at_start.get(table), *(row for row in history.rows if row.table_name == table)]
    return freshness([row.last_successful_run for row in rows if row and row.last_successful_run], since, measured)


def freshness(successes: Iterable[datetime], since: datetime, measured: LagPeriod) -> Freshness:
    """How late a table was.

    Args:
        successes: when it was offloaded with success, including the last time before the period, if there was one.
        since: when its first ledger row was written. Until the first success, its lag counts from here.
        measured: the period.
    """
    start, end, bounds = measured.period.start, measured.period.end, measured.bounds
    stretches = list(_stretches(successes, since, max(start, since), measured.until))
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
