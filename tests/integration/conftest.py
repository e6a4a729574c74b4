"""The whole stack with Airflow's own scheduler, once for each file: an idle scheduler takes time from other tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.ledger.past_ledger import PastLedger, past_ledger
from tests.support.reaper import temporary_folder
from tests.support.stack.airflow_stack import AirflowStack, started_stack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of them as integration tests."""
    for item in items:
        if "/tests/integration/" in str(item.path):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="module")
def stack() -> Iterator[AirflowStack]:
    """PostgreSQL, ClickHouse and Airflow on free ports, with the nine tables. It is stopped and deleted afterwards."""
    with temporary_folder("stack") as folder, started_stack(folder) as found:
        yield found


@pytest.fixture(scope="module")
def past() -> Iterator[PastLedger]:
    """Another stack, for working on past runs. Its DAG starts paused."""
    with temporary_folder("past") as folder, past_ledger(folder) as found:
        yield found
