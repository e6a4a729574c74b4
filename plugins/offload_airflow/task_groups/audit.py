"""The tasks of the audit DAG."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from offload_airflow.callbacks.failure import job_failed
from offload_airflow.compat.sdk import TriggerRule
from offload_airflow.operators.audit import (
    AuditTableOperator,
    CloseAuditOperator,
    LookAgainOperator,
    RepairAuditedOperator,
)
from offload_core.config.settings import Settings
from offload_core.config.tables import InvalidTable, TableConfig, switched_on


def audit_tasks(tables: Sequence[TableConfig | InvalidTable], settings: Settings) -> CloseAuditOperator:
    """Create three tasks per table (audit, repair of late rows, second audit) and a closing task behind them all.

    A failed table does not stop the audit of the others.
    """
    names = [table.name for table in switched_on(tables)]
    timeout = timedelta(minutes=settings.audit_timeout_minutes)
    close = CloseAuditOperator(
        task_id="close_audit",
        tables={f"audit_{name}": name for name in names},
        trigger_rule=TriggerRule.ALL_DONE,
        on_failure_callback=job_failed,
    )
    for name in names:
        audit = AuditTableOperator(task_id=f"audit_{name}", table=name, execution_timeout=timeout)
        repair = RepairAuditedOperator(
            task_id=f"repair_{name}",
            table=name,
            audit=audit.task_id,
            pool=settings.pool,
            priority_weight=1,
            weight_rule="absolute",
            execution_timeout=timeout,
        )
        again = LookAgainOperator(
            task_id=f"look_again_{name}",
            table=name,
            audit=audit.task_id,
            execution_timeout=timeout,
            # The repair fails if it could not resolve a difference. The table is audited again all the same.
            trigger_rule=TriggerRule.ALL_DONE,
        )
        audit >> repair >> again >> close
    return close
