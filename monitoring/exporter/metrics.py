"""The metrics, one entry each: name, help text, and how to get the value. docs/monitoring.md explains them to users.

A name never changes: dashboards and alert rules of users depend on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from monitoring.exporter.airflow_health import SchedulerHealth
from monitoring.exporter.counters import Counted
from offload_core.config.lag import lag
from offload_core.errors import ColdRowsLost, HotRowsExpired
from offload_core.ledger.cycle_time import CycleTime
from offload_core.ledger.snapshot import LedgerSnapshot, MaintenanceState, TableMetrics
from offload_ops.audit.model import Finding

Source = TypeVar("Source")
Samples = Iterable[tuple[tuple[str, ...], float]]
"""Values with those of their labels."""

_LOSSES = (ColdRowsLost.kind, HotRowsExpired.kind)
"""Errors that halt a table because rows are gone: from Iceberg, or from ClickHouse before they were offloaded."""


@dataclass(frozen=True)
class Scrape:
    """One reading of the ledger.

    Attributes:
        snapshot: its content.
        counted: all that has been counted up to it.
        seconds: how long reading it took.
        at: when it was read (`time.monotonic`).
    """

    snapshot: LedgerSnapshot
    counted: Counted
    seconds: float
    at: float

    @property
    def now(self) -> datetime:
        """The present by PostgreSQL's clock, which has written all the moments that it is compared with."""
        return self.snapshot.now + timedelta(seconds=time.monotonic() - self.at)

    @property
    def tables(self) -> list[ObservedTable]:
        """The tables at this moment."""
        lost = {audit.table for audit in self.snapshot.audits if audit.finding == Finding.LOST.value}
        now = self.now
        return [ObservedTable(metrics, now, metrics.table in lost) for metrics in self.snapshot.tables]


@dataclass(frozen=True)
class ObservedTable:
    """A table, the present (UTC), and whether the newest audit of a window found that Iceberg lost rows."""

    metrics: TableMetrics
    now: datetime
    has_lost_rows: bool


@dataclass(frozen=True)
class Gauge(Generic[Source]):
    """A gauge; a source without a value (None) is left out."""

    name: str
    help: str
    value: Callable[[Source], float | None]


@dataclass(frozen=True)
class LabeledGauge:
    """A gauge with labels of its own."""

    name: str
    help: str
    labels: tuple[str, ...]
    samples: Callable[[Scrape], Samples]


@dataclass(frozen=True)
class Counter:
    """A counter, which Prometheus gets with `_total` after its name."""

    name: str
    help: str
    labels: tuple[str, ...]
    samples: Callable[[Counted], Samples]


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _minutes(since: datetime, now: datetime) -> float:
    return round(lag(since, now).total_seconds() / 60, 2)


SCHEDULER_GAUGES: list[Gauge[SchedulerHealth]] = [
    Gauge(
        "offload_airflow_up",
        "1 if Airflow's web interface answered.",
        lambda health: health.airflow_answers,
    ),
    Gauge(
        "offload_scheduler_up",
        "1 if the newest known heartbeat of Airflow's scheduler is recent; /scheduler answers 200 then, else 503.",
        lambda health: health.is_up,
    ),
    Gauge(
        "offload_scheduler_heartbeat_timestamp_seconds",
        "Time of the newest heartbeat of Airflow's scheduler that this exporter has seen (Unix time).",
        lambda health: _seconds(health.heartbeat),
    ),
    Gauge(
        "offload_scheduler_heartbeat_age_seconds",
        "Age of that heartbeat.",
        lambda health: round(max(time.time() - health.heartbeat.timestamp(), 0), 3) if health.heartbeat else None,
    ),
]

TABLE_GAUGES: list[Gauge[ObservedTable]] = [
    Gauge(
        "offload_lag_minutes",
        "Minutes since the table was last offloaded with success, with or without new rows.",
        lambda table: _minutes(table.metrics.last_success or table.metrics.first_row, table.now),
    ),
    Gauge(
        "offload_last_success_timestamp",
        "When the table was last offloaded with success (Unix time); missing before the first time.",
        lambda table: _seconds(table.metrics.last_success),
    ),
    Gauge(
        "watermark_timestamp_seconds",
        "The watermark: timestamp of the newest row in Iceberg (Unix time). Quiet tables and candles keep theirs for "
        "long. Missing before the first rows.",
        lambda table: _seconds(table.metrics.watermark),
    ),
    Gauge(
        "offload_data_lag_minutes",
        "Minutes between the watermark and now: the age of the newest row in Iceberg.",
        lambda table: _minutes(table.metrics.watermark, table.now) if table.metrics.watermark else None,
    ),
    Gauge(
        "offload_read_until_timestamp_seconds",
        "How far runs have read the source, rows or not (Unix time): the progress of a catch-up. Missing before the "
        "first run, and after a reset until the next run.",
        lambda table: _seconds(table.metrics.read_until),
    ),
    Gauge(
        "offload_run_chunks",
        "Commits of the run that moved the table last; more than one while it catches up.",
        lambda table: table.metrics.chunks,
    ),
    Gauge(
        "offload_run_rows",
        "Rows that the run which moved the table last has offloaded so far.",
        lambda table: table.metrics.run_rows,
    ),
    Gauge(
        "offload_cold_rows",
        "Rows of the Iceberg table after the newest commit.",
        lambda table: table.metrics.cold_rows,
    ),
    Gauge(
        "offload_consecutive_failures",
        "Failed attempts since the table was last offloaded with success.",
        lambda table: table.metrics.failures,
    ),
    Gauge(
        "offload_table_halted",
        "1 if the table is halted until an operator resumes it.",
        lambda table: table.metrics.halted is not None,
    ),
    Gauge(
        "offload_data_loss",
        "1 if rows were lost: the table is halted for that, or the newest audit of a window reports it.",
        lambda table: table.metrics.halted in _LOSSES or table.has_lost_rows,
    ),
]

CYCLE_GAUGES: list[Gauge[CycleTime]] = [
    Gauge(
        "offload_cycle_duration_seconds",
        "How long the newest cycle took, from its first table to its last; up to now while a job is running.",
        lambda cycle: round(cycle.duration.total_seconds(), 3),
    ),
    Gauge(
        "offload_cycle_timestamp_seconds",
        "When the newest cycle was last at work (Unix time).",
        lambda cycle: cycle.at.timestamp(),
    ),
    Gauge(
        "offload_cycle_running",
        "1 while an offload job of a cycle is running.",
        lambda cycle: cycle.is_running,
    ),
]

_STATE = "of the Iceberg table after its last maintenance."
MAINTENANCE_GAUGES: list[Gauge[MaintenanceState]] = [
    Gauge("offload_table_files", f"Data files {_STATE}", lambda state: state.figures.data_files),
    Gauge(
        "offload_table_small_files",
        f"Data files well below the target size {_STATE}",
        lambda state: state.figures.small_files,
    ),
    Gauge("offload_table_delete_files", f"Delete files {_STATE}", lambda state: state.figures.delete_files),
    Gauge("offload_table_bytes", f"Bytes of the data files {_STATE}", lambda state: state.figures.bytes),
    Gauge("offload_table_snapshots", f"Snapshots kept {_STATE}", lambda state: state.figures.snapshots),
    Gauge("offload_table_manifests", f"Manifests {_STATE}", lambda state: state.figures.manifests),
    Gauge("offload_table_metadata_files", f"Metadata files kept {_STATE}", lambda state: state.figures.metadata_files),
    Gauge(
        "offload_table_planned_files",
        f"Files that a typical read opens {_STATE}",
        lambda state: state.figures.planned_files,
    ),
    Gauge(
        "offload_table_planning_seconds",
        "How long planning a typical read took at the last maintenance.",
        lambda state: state.figures.planning_milliseconds / 1000,
    ),
    Gauge(
        "offload_maintenance_timestamp_seconds",
        "Time of the table's last maintenance (Unix time).",
        lambda state: state.at.timestamp(),
    ),
]


def _halts(scrape: Scrape) -> Samples:
    return [((table.table, table.halted), 1) for table in scrape.snapshot.tables if table.halted is not None]


def _jobs(scrape: Scrape) -> Samples:
    since: dict[str, datetime] = {}
    for job in scrape.snapshot.jobs:
        if job.table is not None:
            since[job.table] = min(job.since, since.get(job.table, job.since))
    return [((table,), round((scrape.now - start).total_seconds(), 3)) for table, start in since.items()]


def _audit_windows(scrape: Scrape) -> Samples:
    return [((audit.table, audit.finding), audit.windows) for audit in scrape.snapshot.audits]


def _audit_rows(scrape: Scrape) -> Samples:
    sums: dict[tuple[str, ...], float] = {}
    for audit in scrape.snapshot.audits:
        for difference, rows in audit.rows.items():
            sums[audit.table, difference] = sums.get((audit.table, difference), 0) + rows
    return sums.items()


def _audit_times(scrape: Scrape) -> Samples:
    newest: dict[str, datetime] = {}
    for audit in scrape.snapshot.audits:
        newest[audit.table] = max(audit.audited_at, newest.get(audit.table, audit.audited_at))
    return [((table,), at.timestamp()) for table, at in newest.items()]


LABELED_GAUGES = [
    LabeledGauge(
        "offload_table_halted_info",
        "Why a table is halted: the type of the error. Only for halted tables.",
        ("table", "type"),
        _halts,
    ),
    LabeledGauge(
        "offload_job_running_seconds",
        "How long the job that works on the table has been running; only for tables with a job.",
        ("table",),
        _jobs,
    ),
    LabeledGauge(
        "offload_audit_windows",
        "Windows of the last week's audits by the finding of the newest audit: equal, late, changed, surplus or lost.",
        ("table", "finding"),
        _audit_windows,
    ),
    LabeledGauge(
        "offload_audit_rows",
        "Rows that still differed at the newest audit of their window: missing, surplus, changed or duplicate.",
        ("table", "difference"),
        _audit_rows,
    ),
    LabeledGauge(
        "offload_audit_timestamp_seconds",
        "When the table was last audited (Unix time).",
        ("table",),
        _audit_times,
    ),
]


def _by_label(numbers: Mapping[str, int]) -> Samples:
    return [((label,), number) for label, number in numbers.items()]


COUNTERS = [
    Counter(
        "offload_errors",
        "Failed attempts and halts by type of error, since the exporter started.",
        ("type",),
        lambda counted: sorted(_by_label(counted.errors)),
    ),
    Counter(
        "offload_rows",
        "Rows offloaded, since the exporter started.",
        ("table",),
        lambda counted: _by_label(counted.rows),
    ),
    Counter(
        "offload_late_rows",
        "Rows that arrived after their window had been offloaded and were inserted by a repair, since the exporter "
        "started.",
        ("table",),
        lambda counted: _by_label(counted.late_rows),
    ),
    Counter(
        "offload_steps",
        "Ledger rows by kind (increment, empty, failure, halt, …), since the exporter started.",
        ("table", "kind"),
        lambda counted: sorted(counted.steps.items()),
    ),
]
