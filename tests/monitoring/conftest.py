"""An exporter of a real ledger; each test has a pipeline of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from monitoring.exporter.metrics import (
    COUNTERS,
    CYCLE_GAUGES,
    LABELED_GAUGES,
    MAINTENANCE_GAUGES,
    SCHEDULER_GAUGES,
    TABLE_GAUGES,
)
from offload_core.config.connections import PostgresConnection
from tests.support.ledger.fixtures import ledger, open_session, pipeline, session
from tests.support.stack.exporter import Exporter, HealthPage, running_exporter
from tests.support.stack.servers import ledger_database

__all__ = ["ledger", "ledger_database", "open_session", "pipeline", "session"]


@pytest.fixture
def health() -> Iterator[HealthPage]:
    """Airflow's health page, with a live scheduler."""
    page = HealthPage()
    yield page
    page.close()


@pytest.fixture
def exporter(ledger_database: PostgresConnection, pipeline: str, health: HealthPage) -> Iterator[Exporter]:
    """An exporter of the test's pipeline."""
    with running_exporter(ledger_database, pipeline, OFFLOAD_AIRFLOW_URL=health.url) as exporter:
        yield exporter


@pytest.fixture(scope="session")
def exported_names() -> set[str]:
    """The names of all metrics that the exporter can have."""
    gauges = (*SCHEDULER_GAUGES, *TABLE_GAUGES, *CYCLE_GAUGES, *LABELED_GAUGES, *MAINTENANCE_GAUGES)
    fixed = {"offload_info", "offload_ledger_up", "offload_ledger_read_seconds"}
    return fixed | {gauge.name for gauge in gauges} | {f"{counter.name}_total" for counter in COUNTERS}
