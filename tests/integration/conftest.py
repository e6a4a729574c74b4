"""The whole stack with Airflow's own scheduler, once for the tests of each file: a scheduler that nobody needs costs the others time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ledger.past_ledger import OffloadedPast, offloaded_past
from tests.support.stack.airflow_stack import AirflowStack, started_stack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of them as integration tests."""
    for item in items:
        if "/tests/integration/" in str(item.path):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="module")
def stack() -> Iterator[AirflowStack]:
    """PostgreSQL, ClickHouse and Airflow on free ports, with the nine tables made; ended and deleted afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="offload-stack-", ignore_cleanup_errors=True) as folder,
        started_stack(Path(folder)) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def past() -> Iterator[OffloadedPast]:
    """Another stack, for what is done to runs of the past; its DAG starts paused."""
    with (
        tempfile.TemporaryDirectory(prefix="offload-past-", ignore_cleanup_errors=True) as folder,
        offloaded_past(Path(folder)) as found,
    ):
        yield found
