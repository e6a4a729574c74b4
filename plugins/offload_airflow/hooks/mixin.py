"""What every task of the package reads when it runs: the settings, and the ledger that they name."""

from __future__ import annotations

from functools import cached_property

from offload_airflow.config.tables import load_settings
from offload_airflow.hooks.ledger import LedgerHook
from offload_core.config.settings import Settings


class Configured:
    """Mixed into operators and sensors. Parsing reads none of it."""

    @cached_property
    def settings(self) -> Settings:
        """The settings as they are when the task runs."""
        return load_settings()

    @cached_property
    def ledger(self) -> LedgerHook:
        """PostgreSQL."""
        return LedgerHook(postgres_conn_id=self.settings.postgres_conn_id, pipeline_id=self.settings.pipeline_id)
