"""Pages built from the rows that a test has written into the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone

import pytest

from offload_core.config.connections import PostgresConnection
from offload_core.config.settings import Settings
from offload_core.config.tables import DEFAULT_TABLES, InvalidTable, TableConfig
from offload_core.ledger.session import LedgerConnection
from offload_ops.alerts.model import Cycles
from offload_ops.status_page.compute import build_page
from offload_ops.status_page.model import Addresses, StatusPage
from offload_ops.status_page.read import read_page_data
from tests.support.ledger.alert_tables import AlertTables

OPERATOR = Addresses(
    dag="/dag",
    run=lambda run: f"/run/{run}",
    log=lambda _run, table, kind: f"/log/{table}/{kind}",
    act=lambda action, table: f"/act/{action.value}/{table}",
)

ALIVE = Cycles("iceberg_offload", heartbeat=datetime.now(timezone.utc))

MakePage = Callable[..., StatusPage]


@pytest.fixture
def alert_tables(session: LedgerConnection, pipeline: str) -> AlertTables:
    return AlertTables(session, pipeline)


@pytest.fixture
def make_page(ledger_database: PostgresConnection, pipeline: str) -> MakePage:
    """Builds the page of the test's pipeline."""

    def make_page(
        *names: str,
        tables: Sequence[TableConfig | InvalidTable] | None = None,
        addresses: Addresses = OPERATOR,
        cycles: Cycles | None = ALIVE,
        **settings: object,
    ) -> StatusPage:
        configured = tables or [table for table in DEFAULT_TABLES if table.name in names]
        pipeline_settings = Settings.model_validate({"pipeline_id": pipeline, **settings})
        return build_page(
            read_page_data(ledger_database, configured, pipeline_settings), pipeline_settings, cycles, addresses
        )

    return make_page
