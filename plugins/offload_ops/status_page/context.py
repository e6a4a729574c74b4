"""The data that every part of the page is built from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from offload_core.config.settings import Settings
from offload_core.ledger.snapshot import TableMetrics
from offload_ops.alerts.cause import Runbook
from offload_ops.alerts.model import Cycles
from offload_ops.status_page.model import Addresses, DisplayTime
from offload_ops.status_page.read import PageData
from offload_ops.text import RunbookLink, runbook_link


@dataclass(frozen=True)
class PageContext:
    """What is known, and whom the page is for.

    Attributes:
        cycles: the offload's DAG; None if Airflow can't be queried.
        is_explained: whether a notice at the top already explains why tables are late.
    """

    data: PageData
    settings: Settings
    cycles: Cycles | None
    addresses: Addresses
    is_explained: bool = False

    @cached_property
    def metrics(self) -> dict[str, TableMetrics]:
        """The metrics by table."""
        return {metrics.table: metrics for metrics in self.data.snapshot.tables}

    @property
    def now(self) -> datetime:
        """The present (UTC)."""
        return self.data.now

    def time(self, moment: datetime) -> DisplayTime:
        """A moment (UTC) as the page shows it."""
        return DisplayTime.relative_to(self.now, moment)

    def runbook(self, runbook: Runbook) -> RunbookLink:
        """The link to a runbook, with its address if the settings give one."""
        return runbook_link(runbook.value, self.settings.runbook_url)
