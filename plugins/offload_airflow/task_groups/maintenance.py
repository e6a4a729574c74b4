"""The tasks of the maintenance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from offload_airflow.callbacks.failure import job_failed
from offload_airflow.compat import TriggerRule
from offload_airflow.operators.maintenance import (
    CleanLedgerOperator,
    CloseMaintenanceOperator,
    MaintainTableOperator,
)
from offload_core.table_config import InvalidTable, Settings, TableConfig

_CLEAN = "clean_ledger"


def maintained_tables(tables: Sequence[TableConfig | InvalidTable]) -> dict[str, str]:
    """The names of the tables that are not switched off, by the ids of their tasks."""
    on = [table.name for table in tables if isinstance(table, InvalidTable) or table.enabled]
    return {f"maintain_{name}": name for name in on}


def maintenance_tasks(tables: dict[str, str], settings: Settings) -> CloseMaintenanceOperator:
    """One task per table, the ledger's clean-up beside them, and one that waits for all; whatever becomes of one, the others run.

    The tables' tasks take a slot of the offload's pool, and leave it to the offload's whenever both wait for one.
    """
    close = CloseMaintenanceOperator(
        task_id="close_maintenance",
        tables=tables,
        others=[_CLEAN],
        trigger_rule=TriggerRule.ALL_DONE,
        on_failure_callback=job_failed,
    )
    for task_id, table in tables.items():
        maintain = MaintainTableOperator(
            task_id=task_id,
            table=table,
            pool=settings.pool,
            priority_weight=1,
            weight_rule="absolute",
            execution_timeout=timedelta(minutes=settings.maintenance_timeout_minutes),
        )
        maintain >> close
    (
        CleanLedgerOperator(task_id=_CLEAN, execution_timeout=timedelta(minutes=settings.maintenance_timeout_minutes))
        >> close
    )
    return close
