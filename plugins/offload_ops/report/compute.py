"""A report from rows: pure functions; the present is an argument."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from offload_core.config.lag import LagMinutes
from offload_core.config.tables import InvalidTable, TableConfig
from offload_core.ledger.history import OFFLOADED, AirflowHistory, Before, Cycle, Entry, LedgerHistory
from offload_core.protocol.window import Interval
from offload_ops.report.lag import Freshness, freshness
from offload_ops.report.maintenance import Upkeep
from offload_ops.report.model import (
    DAY,
    CycleReport,
    DayReport,
    Outage,
    Report,
    SchedulerReport,
    TableReport,
)

_JUST_NOW = timedelta(minutes=1)
"""A cycle that was due this short a time ago may not have been started yet."""
_STARTED = ("success", "failed", "running")


def compute(
    pipeline: str,
    period: Interval,
    tables: Sequence[TableConfig | InvalidTable],
    ledger: LedgerHistory,
    airflow: AirflowHistory | None,
    upkeep: Upkeep,
    bounds: LagMinutes,
    now: datetime,
) -> Report:
    """The report on a period.

    Args:
        pipeline: the pipeline's id.
        period: what the report is about.
        tables: the configuration; tables that only the ledger knows are reported as well.
        ledger: what the ledger holds of the period.
        airflow: what Airflow knows of it; None where there is none to ask.
        upkeep: what audits and maintenance left of it.
        bounds: the bounds of the lag's levels.
        now: the present (UTC).
    """
    days = _days(period)
    told = tuple(
        _table(name, config, ledger, period, days, bounds, now) for name, config in _names(tables, ledger.since).items()
    )
    failures = _by_day(((entry.at, entry.status == "failed") for entry in ledger.entries), days)
    installed = min(
        [*ledger.since.values(), *([airflow.first_due] if airflow and airflow.first_due else [])], default=None
    )
    return Report(
        pipeline=pipeline,
        period=period,
        made_at=now,
        tables=told,
        days=tuple(
            DayReport(
                day=day.start,
                cycles=_cycles(airflow, day, installed, now) if airflow else None,
                rows=sum(table.rows_by_day[number] for table in told),
                late_rows=sum(table.late_by_day[number] for table in told),
                failures=failures[number],
            )
            for number, day in enumerate(days)
        ),
        cycles=_cycles(airflow, period, installed, now) if airflow else None,
        scheduler=(
            SchedulerReport(airflow.up_since, len(airflow.restarts))
            if airflow and airflow.restarts is not None
            else None
        ),
        upkeep=upkeep,
        bounds=bounds,
        known_since=max(
            (ledger.since[name] for name in ledger.cleaned if ledger.since[name] > period.start), default=None
        ),
        wrong_entries=tuple(table.problem for table in tables if isinstance(table, InvalidTable)),
    )


def _days(period: Interval) -> list[Interval]:
    """The calendar days of a period, the first and the last as far as they are in it."""
    midnights = []
    midnight = period.start.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
    while midnight < period.end:
        midnights.append(midnight)
        midnight += DAY
    return [
        Interval(start, end) for start, end in zip([period.start, *midnights], [*midnights, period.end], strict=True)
    ]


def _names(
    tables: Sequence[TableConfig | InvalidTable], known: Mapping[str, datetime]
) -> dict[str, TableConfig | InvalidTable | None]:
    return {table.name: table for table in tables} | dict.fromkeys(known.keys() - {table.name for table in tables})


def _table(
    name: str,
    config: TableConfig | InvalidTable | None,
    ledger: LedgerHistory,
    period: Interval,
    days: Sequence[Interval],
    bounds: LagMinutes,
    now: datetime,
) -> TableReport:
    entries = [entry for entry in ledger.entries if entry.table == name]
    steps = [entry for entry in entries if entry.status == "success"]
    moved = [step for step in steps if step.kind in OFFLOADED]
    late = [step for step in steps if step.kind == "repair"]
    is_offloaded = isinstance(config, TableConfig) and config.enabled
    failures = Counter(entry.error_kind or "other" for entry in entries if entry.status == "failed")
    return TableReport(
        table=name,
        layer=config.layer.value if config else None,
        is_offloaded=is_offloaded,
        rows=_rows(moved),
        rows_before=ledger.rows_before.get(name),
        rows_by_day=_by_day(((step.at, step.rows) for step in moved), days),
        increments=sum(step.rows > 0 for step in moved),
        empty=sum(step.kind == "empty" for step in steps),
        late_rows=_rows(late),
        late_by_day=_by_day(((step.at, step.rows) for step in late), days),
        restated_rows=_rows([step for step in steps if step.kind == "restate"]),
        failures=dict(failures.most_common()),
        halts=sum(entry.status == "halted" for entry in entries),
        halt=ledger.halts.get(name),
        cold_rows=_cold_rows(entries, ledger.before.get(name)),
        freshness=table_freshness(name, entries, ledger, period, bounds, now) if is_offloaded else None,
    )


def _rows(steps: Sequence[Entry]) -> int:
    return sum(step.rows for step in steps)


def _by_day(amounts: Iterable[tuple[datetime, int]], days: Sequence[Interval]) -> tuple[int, ...]:
    starts, sums = [day.start for day in days], [0] * len(days)
    for at, amount in amounts:
        sums[bisect_right(starts, at) - 1] += amount
    return tuple(sums)


def _cold_rows(entries: Sequence[Entry], before: Before | None) -> int | None:
    known = [entry.total_records for entry in (before, *entries) if entry and entry.total_records is not None]
    return known[-1] if known else None


def table_freshness(
    name: str, entries: Sequence[Entry], ledger: LedgerHistory, period: Interval, bounds: LagMinutes, now: datetime
) -> Freshness | None:
    """How late a table was in a period that the ledger's history covers; None before its first ledger row.

    Args:
        name: the table.
        entries: its rows of the period.
        ledger: the history.
        period: the period.
        bounds: the levels' bounds.
        now: the present (UTC).
    """
    since, until = ledger.since.get(name), min(period.end, now)
    if since is None or since >= until:
        return None
    # Every row repeats when the table had last been offloaded with success.
    successes = {entry.last_success for entry in (ledger.before.get(name), *entries) if entry and entry.last_success}
    return freshness(successes, since, period.start, period.end, until, bounds)


def _cycles(airflow: AirflowHistory, part: Interval, installed: datetime | None, now: datetime) -> CycleReport:
    until = min(part.end, now - _JUST_NOW)
    due = [moment for moment in airflow.due if part.start <= moment < until and installed and moment >= installed]
    states = {cycle.due: cycle.state for cycle in airflow.cycles}
    found = [Cycle(moment, states.get(moment, "")) for moment in due]
    return CycleReport(
        due=len(due),
        started=sum(cycle.state in _STARTED for cycle in found),
        succeeded=sum(cycle.state == "success" for cycle in found),
        failed=sum(cycle.state == "failed" for cycle in found),
        outages=tuple(_outages(found)),
    )


def _outages(cycles: Sequence[Cycle]) -> list[Outage]:
    runs = [(started, list(group)) for started, group in groupby(cycles, lambda cycle: cycle.state in _STARTED)]
    return [Outage(group[0].due, group[-1].due, len(group)) for started, group in runs if not started]
