"""What every task of the package reads when it runs: the settings, and the ledger that they name."""

from __future__ import annotations

from functools import cached_property

from offload_airflow.config.tables import load_settings
from offload_airflow.hooks.ledger import LedgerHook
from offload_core.config.settings import Settings


class OffloadSettingsMixin:
    """Settings and ledger for operators and sensors. Nothing is read while a DAG file is parsed."""

    @cached_property
    def settings(self) -> Settings:
        """The settings, read when the task runs."""
        return load_settings()

    @cached_property
    def ledger(self) -> LedgerHook:
        """The ledger in PostgreSQL."""
        return LedgerHook.from_settings(self.settings)
