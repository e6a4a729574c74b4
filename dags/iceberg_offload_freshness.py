"""### Freshness of the Iceberg tables

Every five minutes, this DAG checks how late every table is, whatever the offload's DAG does: paused, failing from its
first run on, or triggered by hand. It notifies when a table's lag reaches another level, when a table fails for good or
is halted, and when that is over; each of it once.

- **Who is notified**: `alert_recipients`, and in urgent cases `page_recipients` too, by Airflow's own e-mail
  (`[email]`, `[smtp]`); and Slack, if `slack_conn_id` names a Connection. All are settings in the Variable
  `iceberg_offload_settings`.
- **Levels**: over 20 minutes Warning, 30 Critical, 45 Severe, 60 Emergency; over 20 hours, rows may expire before they
  are offloaded.
- **If it fails**: the offload is not affected. The log says whether the ledger or the mail server can't be reached.
- **Unpause it together with `iceberg_offload`.** While no scheduler runs, this DAG does not run either. The alerts of
  Prometheus cover that.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from offload_airflow.compat.sdk import DAG, CronDataIntervalTimetable
from offload_airflow.config.tables import load_settings
from offload_airflow.operators.freshness import FreshnessOperator

with DAG(
    dag_id="iceberg_offload_freshness",
    description="Notifies when the lag of the Iceberg tables reaches another level",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable(load_settings().freshness_schedule, "UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=10),
    # The next check comes by itself. A retry would only repeat notifications that did succeed.
    default_args={"owner": "data-platform", "retries": 0},
    tags=["iceberg", "clickhouse", "offload"],
):
    FreshnessOperator(task_id="freshness", execution_timeout=timedelta(minutes=4))
