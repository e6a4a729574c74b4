"""### Audit of the Iceberg offload

Every hour, for each table: `audit_…` compares both tiers hour by hour, by count and hash; `repair_…` inserts late rows,
if there are any; `look_again_…` fails if a difference is left that an operator has to decide about. If Iceberg has lost
rows, the table is halted.

- **Findings** are in the tasks' logs and in PostgreSQL in `offload_audits`. `offload audit` shows them down to the rows
  that differ.
- **Settings** (`iceberg_offload_settings`): `audit_schedule`, `audit_hours`, `audit_keep_days`,
  `audit_timeout_minutes`.
- **Clear a table's `audit_…`**: it compares the tiers as they are now. If there are many late rows, raise
  `buffer_minutes`.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from offload_airflow.callbacks.failure import table_failed
from offload_airflow.compat.sdk import DAG, CronDataIntervalTimetable
from offload_airflow.config.tables import load_settings, load_tables
from offload_airflow.task_groups.audit import audit_tasks
from offload_airflow.task_groups.layer import RETRIES, RETRY_DELAY

settings = load_settings()

with DAG(
    dag_id="iceberg_offload_audit",
    description="Checks every hour that ClickHouse and Iceberg hold the same rows, and inserts late ones",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable(settings.audit_schedule, "UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    # Comparing reads both tiers. Two tables at a time leave enough capacity to the offload.
    max_active_tasks=2,
    dagrun_timeout=timedelta(hours=6),
    default_args={
        "owner": "data-platform",
        "retries": RETRIES,
        "retry_delay": RETRY_DELAY,
        "on_failure_callback": table_failed,
    },
    tags=["iceberg", "offload", "audit"],
):
    audit_tasks(load_tables(), settings)
