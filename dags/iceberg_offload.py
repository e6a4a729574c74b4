"""### Iceberg offload

Every 15 minutes this moves what is new in ClickHouse to Apache Iceberg with Spark, exactly once, layer by layer.
Per table, `wait_…` looks past the watermark and skips the rest if there is nothing; `offload_…` runs the Spark job.
`close_cycle` logs what became of every table and fails if any failed; a failed table never stops another.

- **Tables and settings**: the Variables `iceberg_offload_tables` and `iceberg_offload_settings`; defaults are shipped.
- **Run now**: trigger the DAG; the form narrows the run to some tables or layers. After downtime, the next run catches up by itself.
- **Clear a run, or one table's `wait_…` and `offload_…` of it**: its interval is compared on both sides by count and hash;
  what is missing is inserted, and where nothing is, nothing is written.
- **Recover a period**: trigger with *from* and *to* (one run), or `offload backfill --from … --to …` (a run per interval).
- **verify** compares a period and changes nothing; **restate** replaces it by what ClickHouse holds.
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
    **run_limit(timedelta(minutes=settings.sla_minutes), of_tasks=sla_miss_callback, of_run=deadline_missed),
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
