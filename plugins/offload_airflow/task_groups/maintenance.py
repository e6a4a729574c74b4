"""The tasks of the maintenance DAG."""

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
from offload_core.config.tables import InvalidTable, TableConfig, switched_on

_CLEAN, _CLEAN_LOGS = "clean_ledger", "clean_logs"


def maintained_tables(tables: Sequence[TableConfig | InvalidTable]) -> dict[str, str]:
    """The names of the switched-on tables, by the ids of their tasks."""
    on = [table.name for table in switched_on(tables)]
    return {f"maintain_{name}": name for name in on}


def maintenance_tasks(tables: dict[str, str], settings: Settings) -> CloseMaintenanceOperator:
    """Create one task per table, the clean-up of ledger and logs, and a closing task. A failed task stops no other.

    The tables' tasks use the offload's pool. If both wait for a slot, the offload's tasks go first.
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
