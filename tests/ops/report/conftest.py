"""Reports on the rows that a test has written into the ledger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from offload_core.config.lag import LagMinutes
from offload_core.config.tables import InvalidTable, TableConfig
from offload_core.ledger.history import read_ledger
from offload_core.ledger.session import LedgerConnection
from offload_core.protocol.window import Interval
from offload_ops.report.airflow_history import AirflowHistory
from offload_ops.report.compute import ReportData, build_report
from offload_ops.report.maintenance import MaintenanceSummary, read_maintenance
from offload_ops.report.model import Report
from tests.support.ledger.week_of_ledger import HOUR, TABLES, W08, WrittenLedger

NOW = W08.end + 9 * HOUR

MakeReport = Callable[..., Report]


@pytest.fixture
def written_ledger(session: LedgerConnection, pipeline: str) -> WrittenLedger:
    return WrittenLedger(session, pipeline)


@pytest.fixture
def make_report(session: LedgerConnection, pipeline: str) -> MakeReport:
    """Builds the report on the ledger's rows."""

    def make_report(
        airflow: AirflowHistory | None = None,
        tables: list[TableConfig | InvalidTable] | None = None,
        now: datetime = NOW,
        period: Interval = W08,
        maintenance: MaintenanceSummary | None = None,
    ) -> Report:
        history = read_ledger(session, pipeline, period)
        configured = TABLES if tables is None else tables
        if maintenance is None:
            maintenance = read_maintenance(session, pipeline, period)
        return build_report(ReportData(pipeline, period, configured, history, airflow, maintenance, LagMinutes(), now))

    return make_report
