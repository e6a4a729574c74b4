"""The report on a period, usually a week: `compute` builds it once, for HTML, text and JSON alike. Times are UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from offload_core.config.lag import LagMinutes
from offload_core.ledger.history import Halt
from offload_core.protocol.window import Interval
from offload_ops.report.lag import Freshness
from offload_ops.report.maintenance import MaintenanceSummary
from offload_ops.text import clock

DAY, WEEK = timedelta(days=1), timedelta(days=7)


@dataclass(frozen=True)
class TableReport:
    """One table in the period.

    Attributes:
        layer: bronze, silver or gold; None for a table that is in the ledger and no longer configured.
        is_offloaded: whether the table is switched on now; if not, its freshness does not matter.
        rows: new rows moved to Iceberg; for candles, each written version counts.
        rows_before: the rows of the period of the same length before; None if the ledger does not reach back so far.
        rows_by_day: `rows` of each day, by the time of the offload.
        increments, empty: steps that moved rows, and steps without new rows.
        late_rows: rows that appeared after their window had been offloaded, and were inserted by a repair.
        late_by_day: `late_rows` of each day.
        restated_rows: rows of intervals that an operator replaced.
        failures: failed attempts by kind of error, most frequent first. A retry may have succeeded.
        halts: how often the table was halted.
        halt: why it is halted now; None if it is not.
        cold_rows: rows of the Iceberg table after the last commit in the ledger; None if unknown.
        freshness: how late it was; None if the ledger has no rows of it in the period, or if it is not offloaded.
    """

    table: str
    layer: str | None
    is_offloaded: bool
    rows: int
    rows_before: int | None
    rows_by_day: tuple[int, ...]
    increments: int
    empty: int
    late_rows: int
    late_by_day: tuple[int, ...]
    restated_rows: int
    failures: Mapping[str, int]
    halts: int
    halt: Halt | None
    cold_rows: int | None
    freshness: Freshness | None


@dataclass(frozen=True)
class Outage:
    """Consecutive cycles that were due and never started: the first, the last, and how many."""

    first: datetime
    last: datetime
    cycles: int


@dataclass(frozen=True)
class CycleReport:
    """The scheduled cycles of a period, each after all its retries.

    Attributes:
        due: how many were due.
        started: how many of those started.
        succeeded, failed: how many of those ended, by outcome.
        outages: those that never started, oldest first.
    """

    due: int
    started: int
    succeeded: int
    failed: int
    outages: tuple[Outage, ...]

    @property
    def uptime(self) -> float | None:
        """Fraction of the due cycles that started; None if none was due."""
        return self.started / self.due if self.due else None

    @property
    def success_rate(self) -> float | None:
        """Fraction of the ended cycles that succeeded; None if none has ended."""
        ended = self.succeeded + self.failed
        return self.succeeded / ended if ended else None


@dataclass(frozen=True)
class DayReport:
    """One calendar day, or the part of it that is in the period; `cycles` is None if Airflow was not queried."""

    day: datetime
    cycles: CycleReport | None
    rows: int
    late_rows: int
    failures: int


@dataclass(frozen=True)
class SchedulerReport:
    """Airflow's scheduler.

    Attributes:
        up_since: when it was started; None if it is down.
        restarts: how often it was restarted in the period.
    """

    up_since: datetime | None
    restarts: int


@dataclass(frozen=True)
class Report:
    """A period of one pipeline.

    Attributes:
        generated_at: when the report was computed.
        tables: in the order of the configuration.
        cycles: None if Airflow was not queried.
        scheduler: None if Airflow was not queried, or has no record of its starts.
        maintenance: the results of audits and maintenance.
        bounds: the bounds of the lag's levels; that of Critical is the objective.
        known_since: where the ledger's rows begin, if some rows of the period have been deleted; otherwise None.
        wrong_entries: what is wrong with unusable entries of the configuration.
    """

    pipeline: str
    period: Interval
    generated_at: datetime
    tables: tuple[TableReport, ...]
    days: tuple[DayReport, ...]
    cycles: CycleReport | None
    scheduler: SchedulerReport | None
    maintenance: MaintenanceSummary
    bounds: LagMinutes
    known_since: datetime | None = None
    wrong_entries: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`2026-W47` for a week from Monday to Monday, otherwise the period's start and end."""
        start, end = self.period.start, self.period.end
        if end - start == WEEK and start == monday(start):
            return week_name(start)
        return f"{clock(start)} to {clock(end)}"

    @property
    def rows(self) -> int:
        """New rows of all tables."""
        return sum(table.rows for table in self.tables)

    @property
    def rows_before(self) -> int | None:
        """New rows of all tables in the period of the same length before; None if unknown for one of them."""
        known = [table.rows_before for table in self.tables if table.rows_before is not None]
        return sum(known) if known and len(known) == len(self.tables) else None

    @property
    def late_rows(self) -> int:
        """Late rows of all tables."""
        return sum(table.late_rows for table in self.tables)

    @property
    def failures(self) -> int:
        """Failed attempts of all tables."""
        return sum(sum(table.failures.values()) for table in self.tables)

    @property
    def in_time(self) -> float | None:
        """Fraction of the time that the objective was met, over all tables; None if unknown."""
        known = [table.freshness for table in self.tables if table.freshness is not None]
        observed = sum((freshness.observed for freshness in known), timedelta())
        too_late = sum((freshness.too_late for freshness in known), timedelta())
        return 1 - too_late / observed if observed else None


def monday(moment: datetime) -> datetime:
    """The start (UTC) of the ISO week that contains a moment (UTC)."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0) - moment.weekday() * DAY


def last_week(moment: datetime) -> Interval:
    """The last ISO week that was over at a moment (UTC)."""
    return Interval(monday(moment) - WEEK, monday(moment))


def week_name(moment: datetime) -> str:
    """The ISO week of a moment (UTC), `2026-W47`."""
    year, week, _ = moment.isocalendar()
    return f"{year}-W{week:02}"
