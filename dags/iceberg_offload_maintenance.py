"""### Maintenance of the Iceberg tables

Once a day, table by table, beside the running offload: small files of closed partitions become few sorted ones,
manifests are rewritten, old snapshots expire (never the newest commit), and files of dead attempts and old metadata are
deleted. `clean_ledger` deletes old ledger rows that nothing needs any more. `clean_logs` deletes the log files of these
DAGs that are older than a week. `close_maintenance` logs the statistics of every table and fails if a task failed.

- **One table now**: trigger the DAG and choose the table in the form, or run `offload maintain TABLE`.
- **Clear a table's `maintain_…`**: it inspects the table as it is now and does what is left to do. Repeating it changes
  nothing.
- **Before and after**: in each task's log, and in PostgreSQL in `offload_maintenance`.
- **Settings** (`iceberg_offload_settings`): `maintenance_schedule`, `compaction_target_mb`, `snapshot_age_hours`,
  `snapshots_to_keep`, `orphan_age_hours`, `ledger_retention_days`, `log_retention_days`; per table `sort_by`.
- A halted table is not touched. Everything that is needed to find the cause, and to bring the table back, stays.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from offload_airflow.compat.sdk import DAG, CronDataIntervalTimetable
from offload_airflow.config.tables import load_settings, load_tables
from offload_airflow.requests.maintenance import maintenance_params
from offload_airflow.task_groups.layer import RETRIES, RETRY_DELAY
from offload_airflow.task_groups.maintenance import maintained_tables, maintenance_tasks

settings = load_settings()
tables = maintained_tables(load_tables())

with DAG(
    dag_id="iceberg_offload_maintenance",
    description="Keeps the Iceberg tables small in files and snapshots, and the ledger short",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable(settings.maintenance_schedule, "UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    # One table at a time: it never takes more than one slot of the offload's pool.
    max_active_tasks=1,
    dagrun_timeout=timedelta(days=1),
    params=maintenance_params(list(tables.values())),
    default_args={"owner": "data-platform", "retries": RETRIES, "retry_delay": RETRY_DELAY},
    tags=["iceberg", "offload", "maintenance"],
):
    maintenance_tasks(tables, settings)
