"""What Prometheus gets at /metrics, made anew for each scrape. The names of R72 are fixed; all others begin with `offload_` too."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from monitoring.exporter.airflow_health import SchedulerHealth
from monitoring.exporter.cached import Cached, NotRead
from monitoring.exporter.counters import Counted, StepCounters
from offload_core import __version__
from offload_core.config.lag import lag
from offload_core.errors import ColdRowsLost, HotRowsExpired
from offload_core.ledger.cycle_time import CycleTime, newest_cycle
from offload_core.ledger.snapshot import AuditState, MaintenanceState, Reading, TableFigures
from offload_ops.audit.model import Finding

log = logging.getLogger("offload.exporter")

_LOSSES = (ColdRowsLost.kind, HotRowsExpired.kind)
"""What stops a table because rows are gone: from Iceberg, or from ClickHouse before they were offloaded (R66, R68)."""


@dataclass(frozen=True)
class Look:
    """One reading of the ledger, what has been counted up to it, how long it took in seconds, and when it was (`time.monotonic`)."""

    reading: Reading
    counted: Counted
    seconds: float
    at: float

    @property
    def now(self) -> datetime:
        """The present by PostgreSQL's clock, which wrote all the moments that it is compared with."""
        return self.reading.now + timedelta(seconds=time.monotonic() - self.at)


def counting(read: Callable[[], Reading]) -> Callable[[], Look]:
    """A function that looks with `read` and counts what is new."""
    counters = StepCounters()

    def look() -> Look:
        started = time.monotonic()
        reading = read()
        tables = [state.table for state in reading.tables]
        counted = counters.count(reading.steps, tables, reading.steps_since)
        return Look(reading, counted, time.monotonic() - started, time.monotonic())

    return look


class OffloadCollector(Collector):
    """The metrics of one pipeline. Where the ledger can't be read, `offload_ledger_up` is 0 and all that comes from it is missing."""

    def __init__(self, pipeline: str, ledger: Cached[Look], health: Callable[[], SchedulerHealth]) -> None:
        self._pipeline = pipeline
        self._ledger = ledger
        self._health = health
        self._was_read = True

    def describe(self) -> list[Metric]:
        """Nothing: registering must not ask any server."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics of this moment; never raises because a server is down."""
        yield InfoMetricFamily(
            "offload",
            "Which pipeline this exporter watches, and the version of its code.",
            value={"version": __version__, "pipeline": self._pipeline},
        )
        yield from _scheduler(self._health())
        look = self._look()
        yield GaugeMetricFamily(
            "offload_ledger_up",
            "1 if the ledger in PostgreSQL could be read for this scrape; if 0, all that comes from it is missing.",
            value=float(look is not None),
        )
        if look is not None:
            yield GaugeMetricFamily(
                "offload_ledger_read_seconds", "How long reading the ledger took.", value=look.seconds
            )
            yield from _tables(look.reading.tables, look.now)
            yield from _stops(look.reading)
            yield from _cycle(newest_cycle(look.reading.steps, look.reading.jobs, look.now))
            yield _running(look)
            yield from _counters(look.counted)
            yield from _audits(look.reading.audits)
            yield from _maintenance(look.reading.maintenance)

    def _look(self) -> Look | None:
        try:
            look = self._ledger.get()
        except NotRead as error:
            if self._was_read:
                log.warning("The ledger can't be read, so that its metrics are missing: %s", error)
            self._was_read = False
            return None
        if not self._was_read:
            log.warning("The ledger can be read again.")
        self._was_read = True
        return look


def _gauge(name: str, text: str, labels: Iterable[str], values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=list(labels))
    for labelled, value in values:
        family.add_metric(list(labelled), value)
    return family


def _by_table(name: str, text: str, values: Iterable[tuple[str, float | None]]) -> Metric:
    """A gauge per table; tables without a value are left out."""
    return _gauge(name, text, ["table"], (((table,), value) for table, value in values if value is not None))


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _minutes(since: datetime, now: datetime) -> float:
    return round(lag(since, now).total_seconds() / 60, 2)


def _scheduler(health: SchedulerHealth) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "offload_airflow_up", "1 if Airflow's web interface answered.", value=float(health.airflow_answers)
    )
    yield GaugeMetricFamily(
        "offload_scheduler_up",
        "1 if the newest known heartbeat of Airflow's scheduler is recent; /scheduler answers 200 then, else 503.",
        value=float(health.is_up),
    )
    heartbeat = _seconds(health.heartbeat)
    if heartbeat is not None:
        yield GaugeMetricFamily(
            "offload_scheduler_heartbeat_timestamp_seconds",
            "When Airflow's scheduler last gave a sign of life, as far as this exporter knows.",
            value=heartbeat,
        )
        yield GaugeMetricFamily(
            "offload_scheduler_heartbeat_age_seconds",
            "How long ago that was.",
            value=round(max(time.time() - heartbeat, 0), 3),
        )


def _tables(tables: Iterable[TableFigures], now: datetime) -> Iterator[Metric]:
    tables = list(tables)
    yield _by_table(
        "offload_lag_minutes",
        "Minutes since the table was last offloaded with success, with or without new rows.",
        ((state.table, _minutes(state.last_success or state.first_row, now)) for state in tables),
    )
    yield _by_table(
        "offload_last_success_timestamp",
        "When the table was last offloaded with success (Unix time); missing before the first time.",
        ((state.table, _seconds(state.last_success)) for state in tables),
    )
    yield _by_table(
        "watermark_timestamp_seconds",
        "The watermark: timestamp of the newest row that is in Iceberg (Unix time). Quiet tables and candles keep theirs for long. "
        "Missing before the first rows.",
        ((state.table, _seconds(state.watermark)) for state in tables),
    )
    yield _by_table(
        "offload_data_lag_minutes",
        "Minutes between the watermark and now: the age of the newest row in Iceberg.",
        ((state.table, _minutes(state.watermark, now)) for state in tables if state.watermark is not None),
    )
    yield _by_table(
        "offload_read_until_timestamp_seconds",
        "Up to where runs have read the source, rows or not (Unix time): how far a catch-up is. Missing until the first run, "
        "and after a reset until the next one.",
        ((state.table, _seconds(state.read_until)) for state in tables),
    )
    yield _by_table(
        "offload_run_chunks",
        "Commits of the run that moved the table last; more than one while it catches up.",
        ((state.table, float(state.chunks)) for state in tables),
    )
    yield _by_table(
        "offload_run_rows",
        "Rows that the run which moved the table last has offloaded so far.",
        ((state.table, float(state.run_rows)) for state in tables),
    )
    yield _by_table(
        "offload_cold_rows",
        "Rows of the Iceberg table after the newest commit.",
        ((state.table, state.cold_rows) for state in tables),
    )
    yield _by_table(
        "offload_consecutive_failures",
        "Failed attempts since the table was last offloaded with success.",
        ((state.table, float(state.failures)) for state in tables),
    )


def _stops(reading: Reading) -> Iterator[Metric]:
    tables = reading.tables
    yield _by_table(
        "offload_table_halted",
        "1 if the table is stopped until an operator resumes it.",
        ((state.table, float(state.halted is not None)) for state in tables),
    )
    yield _gauge(
        "offload_table_halted_info",
        "Why a table is stopped: the type of the error. Only for tables that are.",
        ["table", "type"],
        (((state.table, state.halted), 1.0) for state in tables if state.halted is not None),
    )
    lost = {audit.table for audit in reading.audits if audit.finding == Finding.LOST.value}
    yield _by_table(
        "offload_data_loss",
        "1 if rows were lost: the table is stopped for that, or the newest audit of a window says so.",
        ((state.table, float(state.halted in _LOSSES or state.table in lost)) for state in tables),
    )


def _cycle(cycle: CycleTime | None) -> Iterator[Metric]:
    if cycle is None:
        return
    yield GaugeMetricFamily(
        "offload_cycle_duration_seconds",
        "How long the newest cycle took, from its first table to its last; while a job is at work, up to now.",
        value=round(cycle.duration.total_seconds(), 3),
    )
    yield GaugeMetricFamily(
        "offload_cycle_timestamp_seconds",
        "When the newest cycle was last at work (Unix time).",
        value=cycle.at.timestamp(),
    )
    yield GaugeMetricFamily(
        "offload_cycle_running", "1 while an offload job of a cycle is at work.", value=float(cycle.is_running)
    )


def _running(look: Look) -> Metric:
    since: dict[str, datetime] = {}
    for job in look.reading.jobs:
        if job.table is not None:
            since[job.table] = min(job.since, since.get(job.table, job.since))
    return _by_table(
        "offload_job_running_seconds",
        "How long the job that works on the table has been at it; only for tables with a job.",
        ((table, round((look.now - start).total_seconds(), 3)) for table, start in since.items()),
    )


def _counters(counted: Counted) -> Iterator[Metric]:
    errors = CounterMetricFamily(
        "offload_errors", "Failed attempts and halts by type of error, since the exporter started.", labels=["type"]
    )
    for kind, number in sorted(counted.errors.items()):
        errors.add_metric([kind], number)
    yield errors
    rows = CounterMetricFamily("offload_rows", "Rows offloaded, since the exporter started.", labels=["table"])
    for table, number in counted.rows.items():
        rows.add_metric([table], number)
    yield rows
    late = CounterMetricFamily(
        "offload_late_rows",
        "Rows that came after their window had been offloaded, and were inserted by a repair, since the exporter started.",
        labels=["table"],
    )
    for table, number in counted.late_rows.items():
        late.add_metric([table], number)
    yield late
    steps = CounterMetricFamily(
        "offload_steps",
        "Ledger rows by kind (increment, empty, failure, halt, …), since the exporter started.",
        labels=["table", "kind"],
    )
    for (table, kind), number in sorted(counted.steps.items()):
        steps.add_metric([table, kind], number)
    yield steps


def _audits(audits: Iterable[AuditState]) -> Iterator[Metric]:
    audits = list(audits)
    yield _gauge(
        "offload_audit_windows",
        "Windows of the last week's audits by what the newest audit of each found: equal, late, changed, surplus or lost.",
        ["table", "finding"],
        (((state.table, state.finding), float(state.windows)) for state in audits),
    )
    differing: dict[tuple[str, ...], float] = {}
    for state in audits:
        for difference, rows in state.rows.items():
            key = (state.table, difference)
            differing[key] = differing.get(key, 0) + rows
    yield _gauge(
        "offload_audit_rows",
        "Rows that still differed at the newest audit of their window: missing, surplus, changed or duplicate.",
        ["table", "difference"],
        differing.items(),
    )
    newest: dict[str, datetime] = {}
    for state in audits:
        newest[state.table] = max(state.audited_at, newest.get(state.table, state.audited_at))
    yield _by_table(
        "offload_audit_timestamp_seconds",
        "When the table was last audited (Unix time).",
        ((table, moment.timestamp()) for table, moment in newest.items()),
    )


_FIGURES = {
    "data_files": ("offload_table_files", "Data files"),
    "small_files": ("offload_table_small_files", "Data files well below the target size"),
    "delete_files": ("offload_table_delete_files", "Delete files"),
    "bytes": ("offload_table_bytes", "Bytes of the data files"),
    "snapshots": ("offload_table_snapshots", "Snapshots kept"),
    "manifests": ("offload_table_manifests", "Manifests"),
    "metadata_files": ("offload_table_metadata_files", "Metadata files kept"),
    "planned_files": ("offload_table_planned_files", "Files that a typical read opens"),
}


def _maintenance(states: Iterable[MaintenanceState]) -> Iterator[Metric]:
    states = list(states)
    for field, (name, text) in _FIGURES.items():
        yield _by_table(
            name,
            f"{text} of the Iceberg table after its last maintenance.",
            ((state.table, float(getattr(state.figures, field))) for state in states),
        )
    yield _by_table(
        "offload_table_planning_seconds",
        "How long planning a typical read took at the last maintenance.",
        ((state.table, state.figures.planning_milliseconds / 1000) for state in states),
    )
    yield _by_table(
        "offload_maintenance_timestamp_seconds",
        "When the table's last maintenance was (Unix time).",
        ((state.table, state.at.timestamp()) for state in states),
    )
