"""Computes a report. Pure functions; the present is part of their data."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import groupby

from offload_core.config.lag import LagMinutes
from offload_core.config.tables import InvalidTable, TableConfig
from offload_core.ledger.history import LedgerHistory, TableAtStart
from offload_core.ledger.rows import OFFLOADED_KINDS, LedgerRow, RowStatus, StepKind
from offload_core.protocol.window import Interval
from offload_ops.report.airflow_history import AirflowHistory, Cycle
from offload_ops.report.lag import LagPeriod, table_freshness
from offload_ops.report.maintenance import MaintenanceSummary
from offload_ops.report.model import (
    DAY,
    CycleReport,
    DayReport,
    Outage,
    Report,
    SchedulerReport,
    TableReport,
)

_GRACE = timedelta(minutes=1)
"""A cycle that was due less than this ago may not have started yet."""
_STARTED = ("success", "failed", "running")


@dataclass(frozen=True)
class ReportData:
    """The data that a report is computed from.

    Attributes:
        pipeline: the pipeline's id.
        period: the period of the report.
        tables: the configuration; tables that only the ledger has are reported as well.
        ledger: the ledger's rows of the period.
        airflow: the period in Airflow; None without Airflow.
        maintenance: audits and maintenance in the period.
        bounds: the bounds of the lag's levels.
        now: the present (UTC).
    """

    pipeline: str
    period: Interval
    tables: Sequence[TableConfig | InvalidTable]
    ledger: LedgerHistory
    airflow: AirflowHistory | None
    maintenance: MaintenanceSummary
    bounds: LagMinutes
    now: datetime

    @cached_property
    def days(self) -> list[Interval]:
        """The calendar days of the period; the first and the last may be parts of a day."""
        midnights = []
        midnight = self.period.start.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
        while midnight < self.period.end:
            midnights.append(midnight)
            midnight += DAY
        ends = [*midnights, self.period.end]
        return [Interval(start, end) for start, end in zip([self.period.start, *midnights], ends, strict=True)]

    @cached_property
    def installed_at(self) -> datetime | None:
        """When the pipeline was installed: its first ledger row or its first due cycle."""
        first_due = [self.airflow.first_due] if self.airflow and self.airflow.first_due else []
        return min([*self.ledger.since.values(), *first_due], default=None)

    @property
    def entries(self) -> dict[str, TableConfig | InvalidTable | None]:
        """The configuration by table; None for tables that only the ledger has."""
        configured = {table.name: table for table in self.tables}
        return configured | dict.fromkeys(self.ledger.since.keys() - configured.keys())


def build_report(data: ReportData) -> Report:
    """The report on a period."""
    tables = tuple(_table(name, entry, data) for name, entry in data.entries.items())
    since, start = data.ledger.since, data.period.start
    return Report(
        pipeline=data.pipeline,
        period=data.period,
        generated_at=data.now,
        tables=tables,
        days=_days(tables, data),
        cycles=_cycles(data.period, data),
        scheduler=_scheduler(data.airflow),
        maintenance=data.maintenance,
        bounds=data.bounds,
        known_since=max((since[name] for name in data.ledger.cleaned if since[name] > start), default=None),
        wrong_entries=tuple(table.problem for table in data.tables if isinstance(table, InvalidTable)),
    )


def _days(tables: Sequence[TableReport], data: ReportData) -> tuple[DayReport, ...]:
    failures = _by_day(((row.created_at, row.status is RowStatus.FAILED) for row in data.ledger.rows), data)
    return tuple(
        DayReport(
            day=day.start,
            cycles=_cycles(day, data),
            rows=sum(table.rows_by_day[number] for table in tables),
            late_rows=sum(table.late_by_day[number] for table in tables),
            failures=failures[number],
        )
        for number, day in enumerate(data.days)
    )


def _table(name: str, entry: TableConfig | InvalidTable | None, data: ReportData) -> TableReport:
    ledger = data.ledger
    rows = [row for row in ledger.rows if row.table_name == name]
    steps = [row for row in rows if row.status is RowStatus.SUCCESS]
    moved = [step for step in steps if step.kind in OFFLOADED_KINDS]
    late = [step for step in steps if step.kind is StepKind.REPAIR]
    is_offloaded = isinstance(entry, TableConfig) and entry.enabled
    failures = Counter(row.error_kind or "other" for row in rows if row.status is RowStatus.FAILED)
    measured = LagPeriod(data.period, data.bounds, data.now)
    return TableReport(
        table=name,
        layer=entry.layer.value if entry else None,
        is_offloaded=is_offloaded,
        rows=_sum(moved),
        rows_before=ledger.rows_before.get(name),
        rows_by_day=_by_day(((step.created_at, step.row_count) for step in moved), data),
        increments=sum(step.row_count > 0 for step in moved),
        empty=sum(step.kind is StepKind.EMPTY for step in steps),
        late_rows=_sum(late),
        late_by_day=_by_day(((step.created_at, step.row_count) for step in late), data),
        restated_rows=_sum([step for step in steps if step.kind is StepKind.RESTATE]),
        failures=dict(failures.most_common()),
        halts=sum(row.status is RowStatus.HALTED for row in rows),
        halt=ledger.halts.get(name),
        cold_rows=_cold_rows(rows, ledger.at_start.get(name)),
        freshness=table_freshness(name, ledger, measured) if is_offloaded else None,
    )


def _sum(steps: Sequence[LedgerRow]) -> int:
    return sum(step.row_count for step in steps)


def _by_day(amounts: Iterable[tuple[datetime, int]], data: ReportData) -> tuple[int, ...]:
    starts, sums = [day.start for day in data.days], [0] * len(data.days)
    for at, amount in amounts:
        sums[bisect_right(starts, at) - 1] += amount
    return tuple(sums)


def _cold_rows(rows: Sequence[LedgerRow], at_start: TableAtStart | None) -> int | None:
    known = [row.total_records for row in (at_start, *rows) if row and row.total_records is not None]
    return known[-1] if known else None


def _scheduler(airflow: AirflowHistory | None) -> SchedulerReport | None:
    if airflow is None or airflow.restarts is None:
        return None
    return SchedulerReport(airflow.up_since, len(airflow.restarts))


def _cycles(part: Interval, data: ReportData) -> CycleReport | None:
    """The cycles of a part of the period; None without Airflow."""
    airflow, installed = data.airflow, data.installed_at
    if airflow is None:
        return None
    until = min(part.end, data.now - _GRACE)
    due = [moment for moment in airflow.due if part.start <= moment < until and installed and moment >= installed]
    states = {cycle.due: cycle.state for cycle in airflow.cycles}
    cycles = [Cycle(moment, states.get(moment, "")) for moment in due]
    return CycleReport(
        due=len(due),
        started=sum(cycle.state in _STARTED for cycle in cycles),
        succeeded=sum(cycle.state == "success" for cycle in cycles),
        failed=sum(cycle.state == "failed" for cycle in cycles),
        outages=tuple(_outages(cycles)),
    )


def _outages(cycles: Sequence[Cycle]) -> list[Outage]:
    runs = [(started, list(group)) for started, group in groupby(cycles, lambda cycle: cycle.state in _STARTED)]
    return [Outage(group[0].due, group[-1].due, len(group)) for started, group in runs if not started]
