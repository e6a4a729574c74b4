"""Audits of a world's tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from offload_core.config.tables import TableConfig
from offload_core.ledger.session import connect
from offload_core.protocol.window import Interval
from offload_core.source.clickhouse import ClickHouse
from offload_ops.audit.compare import Auditor, TableAudit, audit_table
from tests.support.spark.world import World


@contextmanager
def auditor_of(world: World, client: ClickHouse | None = None) -> Iterator[Auditor]:
    """An auditor with a PostgreSQL session of its own."""
    with closing(connect(world.connections.postgres, "offload audit")) as session:
        yield Auditor(client or world.hot, world.connections, session, world.settings)


def audit(
    world: World,
    table: TableConfig,
    span: Interval | None = None,
    *,
    run_id: str = "test",
    client: ClickHouse | None = None,
) -> TableAudit:
    """Audit a table and record it."""
    with auditor_of(world, client) as auditor:
        return audit_table(auditor, table, run_id, span)
