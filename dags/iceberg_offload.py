"""### Iceberg offload

Every 15 minutes, this DAG moves new rows from ClickHouse to Apache Iceberg with Spark, exactly once, layer by layer.
For each table, `wait_…` checks for rows past the watermark and skips the rest if there are none; `offload_…` runs the
Spark job. `close_cycle` logs what happened to every table and fails if any failed. A failed table never stops another.

- **Tables and settings**: the Variables `iceberg_offload_tables` and `iceberg_offload_settings`; defaults are shipped.
- **Run now**: trigger the DAG. The form restricts the run to some tables or layers. After downtime, the next run
  catches up by itself.
- **Clear a run, or one table's `wait_…` and `offload_…` in it**: its interval is compared in both tiers by count and
  hash. Missing rows are inserted; if none are missing, nothing is written.
- **Recover a period**: trigger with *from* and *to* (one run), or use `offload backfill --from … --to …` (a run per
  interval).
- **verify** compares a period and changes nothing; **restate** replaces it by ClickHouse's current rows.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from offload_airflow.callbacks.failure import table_failed
from offload_airflow.callbacks.sla import deadline_missed, sla_miss_callback
from offload_airflow.compat.sdk import DAG, CronDataIntervalTimetable, TriggerRule, run_limit
from offload_airflow.config.tables import Layer, load_settings, load_tables
from offload_airflow.operators.cycle import CloseCycleOperator, OpenCycleOperator
from offload_airflow.requests.run import run_params
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
    params=run_params([table.table for table in tables]),
    **run_limit(timedelta(minutes=settings.sla_minutes), on_late_tasks=sla_miss_callback, on_late_run=deadline_missed),
    default_args={
        "owner": "data-platform",
        "retries": RETRIES,
        "retry_delay": RETRY_DELAY,
        "on_failure_callback": table_failed,
    },
    tags=["iceberg", "clickhouse", "offload"],
):
    last = OpenCycleOperator(task_id="open_cycle", tables=[table.table for table in tables])
    for layer, pairs in layers.items():
        if pairs:
            last = last >> layer_group(layer, pairs, settings)
    last >> CloseCycleOperator(task_id="close_cycle", tables=tables, trigger_rule=TriggerRule.ALL_DONE)
