"""Reports on what a test has written into the ledger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from offload_core.config.lag import LagMinutes
from offload_core.config.tables import InvalidTable, TableConfig
from offload_core.ledger.history import AirflowHistory, read_ledger
from offload_core.ledger.session import LedgerConnection
from offload_core.protocol.window import Interval
from offload_ops.report.compute import compute
from offload_ops.report.maintenance import Upkeep, read_upkeep
from offload_ops.report.model import Report
from tests.support.ledger.week_of_ledger import HOUR, TABLES, W08, WrittenLedger

NOW = W08.end + 9 * HOUR

Make = Callable[..., Report]


@pytest.fixture
def written(session: LedgerConnection, pipeline: str) -> WrittenLedger:
    return WrittenLedger(session, pipeline)


@pytest.fixture
def make(session: LedgerConnection, pipeline: str) -> Make:
    """Makes the report on what is in the ledger."""

    def make(
        airflow: AirflowHistory | None = None,
        tables: list[TableConfig | InvalidTable] | None = None,
        now: datetime = NOW,
        period: Interval = W08,
        upkeep: Upkeep | None = None,
    ) -> Report:
        history = read_ledger(session, pipeline, period)
        found = read_upkeep(session, pipeline, period) if upkeep is None else upkeep
        return compute(
            pipeline, period, TABLES if tables is None else tables, history, airflow, found, LagMinutes(), now
        )

    return make
