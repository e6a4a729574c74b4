"""A ClickHouse server for the tests of this folder."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.support.stack.gateway import Gateway, running


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One server for all tests that do not change it."""
    with running(tmp_path_factory.mktemp("server") / "clickhouse") as server:
        yield server


@pytest.fixture
def table(gateway: Gateway) -> Iterator[str]:
    """The name of a table (a UInt64, b String) for one test."""
    name = f"t_{uuid.uuid4().hex}"
    gateway.ask(f"CREATE TABLE {name} (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    yield name
    gateway.ask(f"DROP TABLE {name}")
