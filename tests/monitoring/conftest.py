"""The exporter over a real ledger: a pipeline of its own for each test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from offload_core.connections import PostgresConnection
from offload_core.ledger import Ledger
from offload_core.ledger_session import LedgerConnection, connect
from tests.support.exporter import Exporter, HealthPage, running_exporter
from tests.support.servers import ledger_database, unique_name

__all__ = ["ledger_database"]


@pytest.fixture
def pipeline() -> str:
    """The id of a pipeline that this test has for itself."""
    return unique_name("monitored")


@pytest.fixture
def session(ledger_database: PostgresConnection) -> Iterator[LedgerConnection]:
    """A session to the ledger's database."""
    with connect(ledger_database, "a test") as session:
        yield session


@pytest.fixture
def ledger(session: LedgerConnection, pipeline: str) -> Ledger:
    """The ledger of the test's pipeline, empty."""
    return Ledger(session, pipeline)


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
    source = (Path(__file__).parents[2] / "monitoring" / "exporter" / "collector.py").read_text()
    names = set(re.findall(r'"((?:offload|watermark)_[a-z_]+)"', source))
    counters = {f"{name}_total" for name in re.findall(r'CounterMetricFamily\(\s*"([a-z_]+)"', source)}
    return names | counters | {"offload_info"}
