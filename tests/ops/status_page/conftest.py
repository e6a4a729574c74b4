"""Pages of what a test has written into the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone

import pytest

from offload_core.config.connections import PostgresConnection
from offload_core.config.settings import Settings
from offload_core.config.tables import DEFAULT_TABLES, InvalidTable, TableConfig
from offload_core.ledger.session import LedgerConnection
from offload_ops.alerts.model import Cycles
from offload_ops.status_page.compute import page
from offload_ops.status_page.model import Addresses, StatusPage
from offload_ops.status_page.read import read
from tests.support.ledger.alert_tables import ToldTables

OPERATOR = Addresses(
    dag="/dag",
    run=lambda run: f"/run/{run}",
    log=lambda _run, table, kind: f"/log/{table}/{kind}",
    act=lambda action, table: f"/act/{action.value}/{table}",
)

ALIVE = Cycles("iceberg_offload", heartbeat=datetime.now(timezone.utc))

Make = Callable[..., StatusPage]


@pytest.fixture
def told(session: LedgerConnection, pipeline: str) -> ToldTables:
    return ToldTables(session, pipeline)


@pytest.fixture
def make(ledger_database: PostgresConnection, pipeline: str) -> Make:
    """Makes the page of the test's pipeline."""

    def make(
        *names: str,
        tables: Sequence[TableConfig | InvalidTable] | None = None,
        addresses: Addresses = OPERATOR,
        cycles: Cycles | None = ALIVE,
        **settings: object,
    ) -> StatusPage:
        chosen = tables or [table for table in DEFAULT_TABLES if table.name in names]
        known_as = Settings.model_validate({"pipeline_id": pipeline, **settings})
        return page(read(ledger_database, chosen, known_as), known_as, cycles, addresses)

    return make
