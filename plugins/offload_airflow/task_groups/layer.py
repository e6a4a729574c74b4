"""The tasks of one layer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from offload_airflow.compat.sdk import TaskGroup, TriggerRule, task_limit
from offload_airflow.operators.cycle_summary import TableTasks
from offload_airflow.operators.offload_submit import OffloadSubmitOperator
from offload_airflow.sensors.watermark import WatermarkSensor
from offload_core.config.settings import Settings
from offload_core.config.tables import InvalidTable, Layer, TableConfig

_POKE_SECONDS = 10
RETRIES = 2
"""Three attempts (X19)."""
RETRY_DELAY = timedelta(seconds=60)


def tasks_of(layer: Layer, tables: Sequence[TableConfig | InvalidTable]) -> list[TableTasks]:
    """The ids of the tasks that `layer_group` makes: one pair per table of the layer that is not switched off."""
    names = [table.name for table in tables if table.layer is layer and _is_on(table)]
    return [TableTasks(name, f"{layer.value}.wait_{name}", f"{layer.value}.offload_{name}") for name in names]


def layer_group(layer: Layer, tables: Sequence[TableTasks], settings: Settings) -> TaskGroup:
    """The group of one layer: per table its sensor, then its Spark job.

    The sensors start whatever became of the layer before: layers order the work, a failed table never stops another.
    """
    timeout = timedelta(minutes=settings.task_timeout_minutes)
    with TaskGroup(layer.value, tooltip=f"Tables of the {layer.value} layer") as group:
        for tasks in tables:
            wait = WatermarkSensor(
                task_id=f"wait_{tasks.table}",
                table=tasks.table,
                mode="reschedule",
                poke_interval=_POKE_SECONDS,
                timeout=timeout.total_seconds(),
                execution_timeout=timeout,
                trigger_rule=TriggerRule.ALL_DONE,
            )
            offload = OffloadSubmitOperator(
                task_id=f"offload_{tasks.table}",
                table=tasks.table,
                pool=settings.pool,
                execution_timeout=timeout,
                **task_limit(timedelta(minutes=settings.sla_minutes)),
            )
            wait >> offload
    return group


def longest_run(settings: Settings) -> timedelta:
    """How long a run may take before it hangs: every layer with a table that uses up all its attempts.

    A shorter limit would let one stuck table cost the layers behind it their turn.
    """
    attempts = (RETRIES + 1) * timedelta(minutes=settings.task_timeout_minutes) + RETRIES * RETRY_DELAY
    return len(Layer) * attempts


def _is_on(table: TableConfig | InvalidTable) -> bool:
    return isinstance(table, InvalidTable) or table.enabled
