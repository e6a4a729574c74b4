"""A new hot tier for each test, on the run's real ClickHouse."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from clickhouse_connect.driver.client import Client

from devstack.market_feed import connect
from offload_core.config.connections import ClickHouseConnection, Connections
from offload_core.ledger.ddl import statements
from tests.support.checkout import CHECKOUT
from tests.support.stack.servers import clickhouse_database

SQL = CHECKOUT / "include" / "sql" / "clickhouse"


@pytest.fixture
def hot_tier_connection(servers: Connections) -> Iterator[ClickHouseConnection]:
    """A ClickHouse database without tables, dropped at the end of the test."""
    with clickhouse_database(servers.clickhouse, "hot_tier") as tier:
        yield tier.connection


@pytest.fixture
def hot_tier(hot_tier_connection: ClickHouseConnection, apply_hot_tier: Callable[[Client], None]) -> Iterator[Client]:
    """A client whose database has the hot tier's tables, all empty."""
    with connect(hot_tier_connection) as client:
        apply_hot_tier(client)
        yield client


@pytest.fixture(scope="session")
def apply_hot_tier() -> Callable[[Client], None]:
    """Return a function that runs all statements of the hot tier's DDL."""

    def apply(client: Client) -> None:
        for statement in statements(SQL):
            client.command(statement)

    return apply


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., None]:
    """Return a function that polls a condition until it holds, and fails after `seconds`."""

    def wait(condition: Callable[[], bool], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the condition did not become true in time"
            time.sleep(0.1)

    return wait
