"""The tasks of one layer in the offload's DAG."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from offload_airflow.compat.sdk import TaskGroup, TriggerRule, task_limit
from offload_airflow.operators.cycle_summary import TableTasks
from offload_airflow.operators.offload_submit import OffloadSubmitOperator
from offload_airflow.sensors.watermark import WatermarkSensor
from offload_core.config.settings import Settings
from offload_core.config.tables import InvalidTable, Layer, TableConfig, switched_on

_POKE_SECONDS = 10
RETRIES = 2
"""So a task has three attempts. They and the pauses between them fit the schedule's 15 minutes."""
RETRY_DELAY = timedelta(seconds=60)


def tasks_of(layer: Layer, tables: Sequence[TableConfig | InvalidTable]) -> list[TableTasks]:
    """The ids of the tasks that `layer_group` creates: one pair for each switched-on table of the layer."""
    names = [table.name for table in switched_on(tables) if table.layer is layer]
    return [TableTasks(name, f"{layer.value}.wait_{name}", f"{layer.value}.offload_{name}") for name in names]


def layer_group(layer: Layer, tables: Sequence[TableTasks], settings: Settings) -> TaskGroup:
    """Create the group of one layer: for each table its sensor, then its Spark job.

    The sensors start whatever happened to the layer before. Layers order the work; a failed table never stops another.
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
    """The time limit of a run: in every layer, a table may use all its attempts.

    With a shorter limit, one stuck table would keep the layers behind it from running.
    """
    attempts = (RETRIES + 1) * timedelta(minutes=settings.task_timeout_minutes) + RETRIES * RETRY_DELAY
    return len(Layer) * attempts
