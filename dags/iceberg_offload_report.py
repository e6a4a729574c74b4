"""### Weekly report of the Iceberg offload

Every Monday, this DAG reports on the last ISO week (Monday to Monday, UTC): success rate of the cycles after their
retries, uptime, lag of the tables, rows by table and day, late rows, failures, outages, restarts of the scheduler, and
what needs attention.

- **Where it goes**: to a file, `$AIRFLOW_HOME/reports/iceberg-offload-2026-W47.html` (setting `report_folder`); to the
  task's log as text; and by mail to `report_recipients` through Airflow's own e-mail (`[email]`, `[smtp]`, Connection
  `smtp_default`).
- **Settings**: in the Variable `iceberg_offload_settings`, for example
  `{"report_recipients": ["data-platform@example.com"]}`.
- **Repeat it**: clear a run for its own week; trigger the DAG for the last week that is over.
- **Another period**: `offload report --from … --to … --out report.html`.
- **If it fails**: the offload is not affected. The log says what to do. The file is written before the mail is sent.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from offload_airflow.callbacks.failure import job_failed
from offload_airflow.compat.sdk import DAG, CronDataIntervalTimetable
from offload_airflow.config.tables import load_settings
from offload_airflow.operators.report import ReportOperator

with DAG(
    dag_id="iceberg_offload_report",
    description="Reports on the week: success rate, uptime, lag, volumes, late rows",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable(load_settings().report_schedule, "UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=1),
    # A mail server that is down may need longer than a minute.
    default_args={"owner": "data-platform", "retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["iceberg", "clickhouse", "offload"],
):
    ReportOperator(task_id="report", execution_timeout=timedelta(minutes=10), on_failure_callback=job_failed)
