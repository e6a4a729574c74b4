"""A ledger in the run's PostgreSQL, with a pipeline that each test has for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from offload_core.config.connections import PostgresConnection
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import LedgerConnection, connect
from tests.support.stack.servers import unique_name


@pytest.fixture
def pipeline() -> str:
    """The id of a pipeline that this test has for itself."""
    return unique_name("test")


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
