"""Answers a scrape: turns the state of the ledger and of Airflow into the metrics that `metrics` declares."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from monitoring.exporter.airflow_health import SchedulerHealth
from monitoring.exporter.cached import Cached, NotRead
from monitoring.exporter.counters import StepCounters
from monitoring.exporter.metrics import (
    COUNTERS,
    CYCLE_GAUGES,
    LABELED_GAUGES,
    MAINTENANCE_GAUGES,
    SCHEDULER_GAUGES,
    TABLE_GAUGES,
    Gauge,
    Scrape,
    Source,
)
from offload_core import __version__
from offload_core.ledger.cycle_time import newest_cycle
from offload_core.ledger.snapshot import LedgerSnapshot

log = logging.getLogger("offload.exporter")


def counting(read: Callable[[], LedgerSnapshot]) -> Callable[[], Scrape]:
    """A function that reads the ledger with `read` and counts its new rows."""
    counters = StepCounters()

    def scrape() -> Scrape:
        started = time.monotonic()
        snapshot = read()
        tables = [table.table for table in snapshot.tables]
        counted = counters.count(snapshot.steps, tables, snapshot.steps_since)
        return Scrape(snapshot, counted, time.monotonic() - started, time.monotonic())

    return scrape


class OffloadCollector(Collector):
    """The metrics of one pipeline.

    If the ledger can't be read, `offload_ledger_up` is 0 and all metrics that come from the ledger are missing.
    """

    def __init__(self, pipeline: str, ledger: Cached[Scrape], health: Callable[[], SchedulerHealth]) -> None:
        self._pipeline = pipeline
        self._ledger = ledger
        self._health = health
        self._was_read = True

    def describe(self) -> list[Metric]:
        """Nothing, so that registering the collector queries no server."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics of this moment; never raises because a server is down."""
        yield InfoMetricFamily(
            "offload",
            "Which pipeline this exporter watches, and the version of its code.",
            value={"version": __version__, "pipeline": self._pipeline},
        )
        yield from _single(SCHEDULER_GAUGES, self._health())
        scrape = self._scrape()
        yield GaugeMetricFamily(
            "offload_ledger_up",
            "1 if the ledger in PostgreSQL could be read for this scrape; if 0, all that comes from it is missing.",
            value=float(scrape is not None),
        )
        if scrape is not None:
            yield GaugeMetricFamily(
                "offload_ledger_read_seconds", "How long reading the ledger took.", value=scrape.seconds
            )
            yield from _of_ledger(scrape)

    def _scrape(self) -> Scrape | None:
        try:
            scrape = self._ledger.get()
        except NotRead as error:
            if self._was_read:
                log.warning("The ledger can't be read, so its metrics are missing: %s", error)
            self._was_read = False
            return None
        if not self._was_read:
            log.warning("The ledger can be read again.")
        self._was_read = True
        return scrape


def _of_ledger(scrape: Scrape) -> Iterator[Metric]:
    snapshot = scrape.snapshot
    yield from _by_table(TABLE_GAUGES, [(table.metrics.table, table) for table in scrape.tables])
    cycle = newest_cycle(snapshot.steps, snapshot.jobs, scrape.now)
    if cycle is not None:
        yield from _single(CYCLE_GAUGES, cycle)
    for gauge in LABELED_GAUGES:
        yield _labeled(GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels), gauge.samples(scrape))
    for counter in COUNTERS:
        family = CounterMetricFamily(counter.name, counter.help, labels=counter.labels)
        yield _labeled(family, counter.samples(scrape.counted))
    yield from _by_table(MAINTENANCE_GAUGES, [(state.table, state) for state in snapshot.maintenance])


def _single(gauges: Iterable[Gauge[Source]], source: Source) -> Iterator[Metric]:
    """Gauges without labels; those without a value are left out."""
    for gauge in gauges:
        value = gauge.value(source)
        if value is not None:
            yield GaugeMetricFamily(gauge.name, gauge.help, value=float(value))


def _by_table(gauges: Iterable[Gauge[Source]], tables: Sequence[tuple[str, Source]]) -> Iterator[Metric]:
    """Gauges with one value per table; tables without a value are left out."""
    for gauge in gauges:
        values = [((table,), gauge.value(source)) for table, source in tables]
        samples = [(labels, value) for labels, value in values if value is not None]
        yield _labeled(GaugeMetricFamily(gauge.name, gauge.help, labels=["table"]), samples)


def _labeled(
    family: GaugeMetricFamily | CounterMetricFamily, samples: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    for labels, value in samples:
        family.add_metric(labels, float(value))
    return family
