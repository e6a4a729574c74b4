"""The report on a period, usually a week: computed once (`report_compute`), and then told as HTML, text and JSON alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from offload_core.config.lag import LagMinutes
from offload_core.ledger.history import Halt
from offload_core.protocol.window import Interval
from offload_ops.report.lag import Freshness
from offload_ops.report.maintenance import Upkeep

DAY, WEEK = timedelta(days=1), timedelta(days=7)


@dataclass(frozen=True)
class TableReport:
    """One table's week.

    Attributes:
        layer: bronze, silver or gold; None for a table that is in the ledger and no longer configured.
        is_offloaded: whether the configuration has it offloaded now; if not, nobody expects it to be fresh.
        rows: new rows moved to Iceberg; of candles those that were written, the changed ones again each time.
        rows_before: the same for as long a time before; None where the ledger does not reach back so far.
        rows_by_day: `rows` for each day of the report, by when they were offloaded.
        increments, empty: steps that moved rows, and steps that found none.
        late_rows: rows that had not been there when their time was offloaded, and were inserted afterwards.
        late_by_day: the same for each day of the report.
        restated_rows: rows of intervals that an operator had replaced.
        failures: failed attempts by the kind of error, most frequent first. Retries may have mended them.
        halts: how often the table was halted.
        halt: why it is halted now; None if it is not.
        cold_rows: rows of the Iceberg table after the last commit in the ledger; None if that says nothing.
        freshness: how late it was; None if the ledger does not know it in this period, or nobody expects it to be fresh.
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
    """Cycles in a row that were due and never started: the first and the last of them, and how many."""

    first: datetime
    last: datetime
    cycles: int


@dataclass(frozen=True)
class CycleReport:
    """The scheduled cycles of a period, each after all its retries.

    Attributes:
        due: how many the schedule wanted.
        started: how many of those there were.
        succeeded, failed: how many of those ended, and how.
        outages: those that never started, oldest first.
    """

    due: int
    started: int
    succeeded: int
    failed: int
    outages: tuple[Outage, ...]

    @property
    def uptime(self) -> float | None:
        """Share of the due cycles that started; None if none was due."""
        return self.started / self.due if self.due else None

    @property
    def success_rate(self) -> float | None:
        """Share of the ended cycles that succeeded; None if none has ended."""
        ended = self.succeeded + self.failed
        return self.succeeded / ended if ended else None


@dataclass(frozen=True)
class DayReport:
    """One calendar day (UTC), or the part of it that is in the period; `cycles` is None where Airflow was not asked."""

    day: datetime
    cycles: CycleReport | None
    rows: int
    late_rows: int
    failures: int


@dataclass(frozen=True)
class SchedulerReport:
    """Airflow's scheduler: since when it has been up (None: it is down), and how often it was restarted in the period."""

    up_since: datetime | None
    restarts: int


@dataclass(frozen=True)
class Report:
    """A period of one pipeline. Times are UTC.

    Attributes:
        made_at: when the report was computed.
        tables: in the order of the configuration.
        cycles, scheduler: None where Airflow was not asked, or does not know it of its scheduler.
        upkeep: what audits found and what maintenance did.
        bounds: the bounds of the lag's levels; that of Critical is the objective.
        known_since: where the ledger's rows begin, if the maintenance has deleted some of the period; else None.
        wrong_entries: what is wrong with entries of the configuration that can't be used.
    """

    pipeline: str
    period: Interval
    made_at: datetime
    tables: tuple[TableReport, ...]
    days: tuple[DayReport, ...]
    cycles: CycleReport | None
    scheduler: SchedulerReport | None
    upkeep: Upkeep
    bounds: LagMinutes
    known_since: datetime | None = None
    wrong_entries: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`2026-W47` for a week from Monday to Monday, else the period's first and last moment."""
        start, end = self.period.start, self.period.end
        if end - start == WEEK and start == monday(start):
            return week_name(start)
        return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"

    @property
    def rows(self) -> int:
        """New rows of all tables."""
        return sum(table.rows for table in self.tables)

    @property
    def rows_before(self) -> int | None:
        """New rows of all tables in as long a time before; None where the ledger does not reach back so far for each of them."""
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
        """Share of the time that the objective was met, over all tables; None if none is known."""
        known = [table.freshness for table in self.tables if table.freshness is not None]
        observed = sum((one.observed for one in known), timedelta())
        return 1 - sum((one.too_late for one in known), timedelta()) / observed if observed else None


def monday(moment: datetime) -> datetime:
    """The beginning of the ISO week (UTC) that a moment (UTC) lies in."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0) - moment.weekday() * DAY


def last_week(moment: datetime) -> Interval:
    """The last ISO week that was over at a moment (UTC)."""
    return Interval(monday(moment) - WEEK, monday(moment))


def week_name(moment: datetime) -> str:
    """The ISO week of a moment (UTC), `2026-W47`."""
    year, week, _ = moment.isocalendar()
    return f"{year}-W{week:02}"
