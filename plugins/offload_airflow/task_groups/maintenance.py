"""The tasks of the maintenance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from offload_airflow.callbacks.failure import job_failed
from offload_airflow.compat.sdk import TriggerRule
from offload_airflow.operators.maintenance import (
    CleanLedgerOperator,
    CleanLogsOperator,
    CloseMaintenanceOperator,
    MaintainTableOperator,
)
from offload_core.config.settings import Settings
from offload_core.config.tables import InvalidTable, TableConfig

_CLEAN, _CLEAN_LOGS = "clean_ledger", "clean_logs"


def maintained_tables(tables: Sequence[TableConfig | InvalidTable]) -> dict[str, str]:
    """The names of the tables that are not switched off, by the ids of their tasks."""
    on = [table.name for table in tables if isinstance(table, InvalidTable) or table.enabled]
    return {f"maintain_{name}": name for name in on}


def maintenance_tasks(tables: dict[str, str], settings: Settings) -> CloseMaintenanceOperator:
    """One task per table, the clean-up of ledger and logs beside them, and one that waits for all; whatever becomes of one, the others run.

    The tables' tasks take a slot of the offload's pool, and leave it to the offload's whenever both wait for one.
    """
    timeout = timedelta(minutes=settings.maintenance_timeout_minutes)
    close = CloseMaintenanceOperator(
        task_id="close_maintenance",
        tables=tables,
        others=[_CLEAN, _CLEAN_LOGS],
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
            execution_timeout=timeout,
        )
        maintain >> close
    CleanLedgerOperator(task_id=_CLEAN, execution_timeout=timeout) >> close
    CleanLogsOperator(task_id=_CLEAN_LOGS, execution_timeout=timeout) >> close
    return close
