"""The ledger through an Airflow Connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.providers.postgres.hooks.postgres import PostgresHook

from offload_airflow.hooks.connections import postgres_connection
from offload_airflow.hooks.lookup import RequiresConnection
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import LedgerConnection, connect


class LedgerHook(RequiresConnection, PostgresHook):
    """Opens the ledger in the PostgreSQL database that a Connection names.

    Args:
        pipeline_id: whose watermarks.
        application_name: how the session shows in `pg_stat_activity`.
    """

    def __init__(self, *, pipeline_id: str, application_name: str = "offload airflow", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline_id = pipeline_id
        self.application_name = application_name

    @contextmanager
    def open(self) -> Iterator[Ledger]:
        """The ledger, in a session that ends with the block.

        Raises:
            FixConfiguration: the Connection is missing or wrong.
            FixCredentials: PostgreSQL refused the user or the password.
            LedgerUnavailable: it can't be reached.
        """
        with self.open_session() as session:
            yield Ledger(session, self.pipeline_id)

    @contextmanager
    def open_session(self) -> Iterator[LedgerConnection]:
        """A session with the ledger's database, for its other tables. Raises as `open`."""
        with connect(postgres_connection(self.connection), self.application_name) as session:
            yield session
