"""The ledger, through an Airflow Connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.providers.postgres.hooks.postgres import PostgresHook

from offload_airflow.hooks.connections import postgres_connection
from offload_airflow.hooks.lookup import RequiresConnection
from offload_core.config.settings import Settings
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import LedgerConnection, connect

_APPLICATION = "offload airflow"


class LedgerHook(RequiresConnection, PostgresHook):
    """Opens the ledger in the PostgreSQL database of a Connection.

    Args:
        pipeline_id: the pipeline whose watermarks are used.
    """

    def __init__(self, *, pipeline_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline_id = pipeline_id

    @classmethod
    def from_settings(cls, settings: Settings) -> LedgerHook:
        """The hook for the Connection and the pipeline that the settings name."""
        return cls(postgres_conn_id=settings.postgres_conn_id, pipeline_id=settings.pipeline_id)

    @contextmanager
    def open(self, application_name: str = _APPLICATION) -> Iterator[Ledger]:
        """The ledger, in a session that is closed after the block.

        Args:
            application_name: the session's name in `pg_stat_activity`.

        Raises:
            FixConfiguration: the Connection is missing or wrong.
            FixCredentials: PostgreSQL refused the user or the password.
            LedgerUnavailable: PostgreSQL can't be reached.
        """
        with self.open_connection(application_name) as session:
            yield Ledger(session, self.pipeline_id)

    @contextmanager
    def open_connection(self, application_name: str = _APPLICATION) -> Iterator[LedgerConnection]:
        """A session with the ledger's database, for its other tables.

        Args:
            application_name: the session's name in `pg_stat_activity`.

        Raises:
            FixConfiguration: the Connection is missing or wrong.
            FixCredentials: PostgreSQL refused the user or the password.
            LedgerUnavailable: PostgreSQL can't be reached.
        """
        with connect(postgres_connection(self.connection), application_name) as session:
            yield session
