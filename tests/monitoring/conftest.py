"""The exporter over a real ledger: a pipeline of its own for each test."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from offload_core.config.connections import PostgresConnection
from tests.support.checkout import CHECKOUT
from tests.support.ledger.fixtures import ledger, open_session, pipeline, session
from tests.support.stack.exporter import Exporter, HealthPage, running_exporter
from tests.support.stack.servers import ledger_database

__all__ = ["ledger", "ledger_database", "open_session", "pipeline", "session"]


@pytest.fixture
def health() -> Iterator[HealthPage]:
    """Airflow's health page, with a scheduler that lives."""
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
    """The names of all metrics that the exporter can have, by its source."""
    source = (CHECKOUT / "monitoring" / "exporter" / "collector.py").read_text()
    names = set(re.findall(r'"((?:offload|watermark)_[a-z_]+)"', source))
    counters = {f"{name}_total" for name in re.findall(r'CounterMetricFamily\(\s*"([a-z_]+)"', source)}
    return names | counters | {"offload_info"}
