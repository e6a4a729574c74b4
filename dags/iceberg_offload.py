"""### Iceberg offload

Every 15 minutes this moves what is new in ClickHouse to Apache Iceberg with Spark, exactly once, layer by layer.
Per table, `wait_…` looks past the watermark and skips the rest if there is nothing; `offload_…` runs the Spark job.
`close_cycle` logs what became of every table and fails if any failed; a failed table never stops another.

- **Tables and settings**: the Variables `iceberg_offload_tables` and `iceberg_offload_settings`; defaults are shipped.
- **Run now**: trigger the DAG. **Run one table again**: clear its `wait_…` task with everything downstream.
- **Recover a period**: nothing to do, the next run catches up; watermarks are looked at and moved with `offload`.
"""

from __future__ import annotations

from datetime import datetime, timezone

from offload_airflow.callbacks.sla import sla_miss_callback
from offload_airflow.compat import DAG, CronDataIntervalTimetable, TriggerRule
from offload_airflow.operators.cycle import CloseCycleOperator, OpenCycleOperator
from offload_airflow.table_configs import Layer, load_settings, load_tables
from offload_airflow.task_groups.layer import RETRIES, RETRY_DELAY, layer_group, longest_run, tasks_of

settings = load_settings()
layers = {layer: tasks_of(layer, load_tables()) for layer in Layer}
tables = [table for layer in layers.values() for table in layer]

with DAG(
    dag_id="iceberg_offload",
    description="ClickHouse to Iceberg, every table's new rows, exactly once",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable(settings.schedule, "UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=longest_run(settings),
    sla_miss_callback=sla_miss_callback,
    default_args={"owner": "data-platform", "retries": RETRIES, "retry_delay": RETRY_DELAY},
    tags=["iceberg", "clickhouse", "offload"],
):
    last = OpenCycleOperator(task_id="open_cycle", tables=[table.table for table in tables])
    for layer, pairs in layers.items():
        if pairs:
            last = last >> layer_group(layer, pairs, settings)
    last >> CloseCycleOperator(task_id="close_cycle", tables=tables, trigger_rule=TriggerRule.ALL_DONE)
