"""What every part of the page is made with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from offload_core.config.settings import Settings
from offload_core.ledger.snapshot import TableFigures
from offload_ops.alerts.message import Link, runbook_link
from offload_ops.alerts.model import Cycles
from offload_ops.status_page.model import Addresses
from offload_ops.status_page.read import Known


@dataclass(frozen=True)
class Around:
    """What is known, and for whom the page is.

    Attributes:
        cycles: the offload's DAG; None where Airflow can't be asked.
        is_told: whether a notice at the top says already why tables are late.
    """

    known: Known
    settings: Settings
    cycles: Cycles | None
    addresses: Addresses
    is_told: bool = False

    @cached_property
    def figures(self) -> dict[str, TableFigures]:
        """The metrics' figures by table."""
        return {figures.table: figures for figures in self.known.reading.tables}

    @property
    def now(self) -> datetime:
        """The present (UTC)."""
        return self.known.now

    def runbook(self, name: str) -> Link:
        """A runbook, where the settings have it."""
        return runbook_link(name, self.settings.runbook_url)
