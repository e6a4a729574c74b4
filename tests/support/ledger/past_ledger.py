"""A stack with trades around a past midnight, offloaded by a backfill of the two quarters of an hour around it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from install.airflow_version import AIRFLOW_2
from offload_core.config.tables import DEFAULT_TABLES
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.rows import LedgerRow
from offload_core.ledger.session import connect
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.queries import format_time
from offload_ops.tiers.cold_table import open_cold_table
from tests.support.stack.airflow_stack import DAG_ID, AirflowStack, started_stack
from tests.support.waiting import wait_until

BRONZE, SILVER, GOLD = "bronze_trades_binance", "silver_trades", "gold_ohlcv_1m"
TABLES = (BRONZE, SILVER, GOLD)
"""One table of each layer. All nine behave the same here."""
MINUTE = timedelta(minutes=1)
PERIOD = 15 * MINUTE


@dataclass
class PastLedger:
    """The stack and its offloaded past.

    Attributes:
        midnight: the midnight in the middle (UTC).
        backfilled: the output of the backfill over the empty cold tables.
    """

    stack: AirflowStack
    midnight: datetime
    backfilled: dict[str, Any]

    @property
    def span(self) -> tuple[str, str]:
        """The interval of all trades, as options and confs take it."""
        return (self.midnight - PERIOD).isoformat(), (self.midnight + 5 * MINUTE).isoformat()

    def run_id(self, start: datetime) -> str:
        """The run of the interval that begins at `start`."""
        return self.stack.api.run_ids(DAG_ID)[start]

    def switch_on(self) -> None:
        """Switch the DAG on, and wait for the scheduler's run of the newest interval."""
        if self.stack.api.unpause(DAG_ID):
            switched_on(self.stack)

    def insert(self, rows: int, start: datetime) -> None:
        """Insert trades of two minutes into ClickHouse now."""
        insert(self.stack, rows, start, start + 2 * MINUTE)

    def take(self, table: str, start: datetime) -> None:
        """Delete two minutes of rows from a hot table."""
        end = start + 2 * MINUTE
        with closing(ClickHouse(self.stack.connections.clickhouse)) as client:
            client.command(
                f"ALTER TABLE {table} DELETE WHERE exchange_timestamp >= toDateTime64('{format_time(start)}', 6, "
                "'UTC') "
                f"AND exchange_timestamp < toDateTime64('{format_time(end)}', 6, 'UTC') SETTINGS mutations_sync = 2"
            )

    def newest(self, table: str) -> LedgerRow:
        """A table's newest ledger row."""
        with closing(connect(self.stack.connections.postgres)) as session:
            row = Ledger(session, "iceberg_offload").newest(table)
        assert row is not None
        return row

    def snapshots(self) -> dict[str, int | None]:
        """The current snapshot of every cold table."""
        iceberg = self.stack.connections.iceberg
        return {table: open_cold_table(iceberg, f"cold.{table}").metadata.current_snapshot_id for table in TABLES}

    def differing(self) -> set[str]:
        """The tables that `offload verify` finds different."""
        verdicts = json.loads(self.stack.offload("verify", "--json", status=None))
        return {verdict["table"] for verdict in verdicts if verdict["verdict"] != "equal"}

    def summary(self, run_id: str) -> str:
        """The log of the run's closing task."""
        return self.stack.task_log(run_id, "close_cycle")


def switched_on(stack: AirflowStack) -> None:
    """Wait for the scheduler's run of the newest interval, of a DAG that has been switched on."""
    wait_until(lambda: _newest_interval() in stack.api.run_ids(DAG_ID), "the scheduler to run the newest interval", 60)
    stack.finished(stack.api.run_ids(DAG_ID)[max(stack.api.run_ids(DAG_ID))])


def _newest_interval() -> datetime:
    return newest_quarter() - PERIOD


def newest_quarter() -> datetime:
    """The start of the current quarter of an hour."""
    now = datetime.now(timezone.utc).replace(microsecond=0)
    return now - timedelta(minutes=now.minute % 15, seconds=now.second)


def insert(stack: AirflowStack, rows: int, start: datetime, end: datetime) -> None:
    """Insert trades of an interval into ClickHouse."""
    span = ["--from", start.isoformat(), "--to", end.isoformat()]
    stack.feed("history", "--exchange", "binance", "--rows", str(rows), *span)


@contextmanager
def past_ledger(home: Path) -> Iterator[PastLedger]:
    """The stack with its past and a paused DAG, as it was before the backfill. It is stopped at the end."""
    now = datetime.now(timezone.utc)
    midnight = (now - timedelta(hours=2)).replace(hour=0, minute=0, second=0, microsecond=0)
    entries = [table.model_dump(mode="json") for table in DEFAULT_TABLES if table.name in TABLES]
    with started_stack(home) as stack:
        stack.environ["OFFLOAD_TABLES"] = json.dumps(entries)
        stack.api.set_variable("iceberg_offload_tables", json.dumps(entries))
        stack.api.wait_for_tasks(DAG_ID, 2 * len(TABLES) + 2, seconds=120)
        is_airflow_3 = stack.layout.state_version is not AIRFLOW_2
        if is_airflow_3:
            # Its scheduler runs backfills, and a DAG that is switched on first runs its newest interval, here over
            # empty tables.
            stack.keep_from_the_quarter_hour()
            stack.api.unpause(DAG_ID)
            switched_on(stack)
        insert(stack, 600, midnight - PERIOD, midnight + 5 * MINUTE)
        past = PastLedger(stack, midnight, {})
        start, end = past.span
        past.backfilled = json.loads(stack.offload("backfill", "--from", start, "--to", end, "--yes", "--json"))
        if is_airflow_3:
            stack.api.pause(DAG_ID)
        yield past
