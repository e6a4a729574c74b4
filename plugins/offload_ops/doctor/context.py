"""What the checks of `offload doctor` work with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime

from offload_core.config.connections import Connections
from offload_core.config.settings import Settings
from offload_core.config.tables import InvalidTable, TableConfig
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import connect

METRICS_URL_ENV = "OFFLOAD_METRICS_URL"
"""The address of the metrics if the setting `metrics_url` is empty; `make env` sets it for the development stack."""


@dataclass(frozen=True)
class CheckContext:
    """What is checked.

    Attributes:
        connections, tables, settings: as in the command's context.
        environ: the environment, for Spark and for the address of the metrics.
        now: the present, UTC.
    """

    connections: Connections
    tables: Sequence[TableConfig | InvalidTable]
    settings: Settings
    environ: Mapping[str, str]
    now: datetime

    @property
    def metrics_url(self) -> str | None:
        """Address of the metrics endpoint; None if there is none to check."""
        return self.settings.metrics_url or self.environ.get(METRICS_URL_ENV)

    @property
    def enabled(self) -> list[TableConfig]:
        """The valid tables that are to be offloaded."""
        return [table for table in self.tables if isinstance(table, TableConfig) and table.enabled]

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger, over a session of its own."""
        with closing(connect(self.connections.postgres, "offload doctor")) as session:
            yield Ledger(session, self.settings.pipeline_id)
