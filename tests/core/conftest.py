"""The core against real servers: a pipeline of its own for each test of the ledger, a database of the run's for ClickHouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import settings

from offload_core.connections import PostgresConnection
from offload_core.ledger import Ledger
from offload_core.ledger_session import LedgerConnection, connect
from tests.support.offload_command import context, offload
from tests.support.servers import clickhouse, ledger_database, unique_name

__all__ = ["clickhouse", "context", "ledger_database", "offload"]

# How long an example takes says nothing on a machine that is busy with other things.
settings.register_profile("core", deadline=None)
settings.load_profile("core")


@pytest.fixture
def pipeline() -> str:
    """The id of a pipeline that this test has for itself."""
    return unique_name("core")


@pytest.fixture
def open_session(ledger_database: PostgresConnection) -> Iterator[Callable[..., LedgerConnection]]:
    """Opens sessions to the ledger's database; what is still open at the end of the test is closed."""
    with ExitStack() as sessions:

        def open_session(name: str = "a test") -> LedgerConnection:
            return sessions.enter_context(connect(ledger_database, name))

        yield open_session


@pytest.fixture
def session(open_session: Callable[..., LedgerConnection]) -> LedgerConnection:
    """A session to the ledger's database."""
    return open_session()


@pytest.fixture
def ledger(session: LedgerConnection, pipeline: str) -> Ledger:
    """The ledger of the test's pipeline, empty."""
    return Ledger(session, pipeline)
