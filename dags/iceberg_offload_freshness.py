"""### Freshness of the Iceberg tables

Every five minutes this looks how late every table is, whatever the offload's DAG does: paused, failing from its first run on, run by hand.
It tells when a table's lag reaches another level, when a table fails for good or is halted, and when that is over; each of it once.

- **Who is told**: `alert_recipients`, and of what can't wait `page_recipients` too, by Airflow's own e-mail (`[email]`, `[smtp]`);
  and Slack, where `slack_conn_id` names a Connection. All in the Variable `iceberg_offload_settings`.
- **Levels**: over 20 minutes Warning, 30 Critical, 45 Severe, 60 Emergency; 20 hours: rows may expire before they are offloaded.
- **It failed**: the offload is not touched by that. Its log says whether the ledger or the mail server can't be reached.
- **Switch it on with `iceberg_offload`.** While no scheduler runs, it is blind as well: that is what the alerts of Prometheus are for.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from offload_airflow.compat.sdk import DAG, CronDataIntervalTimetable
from offload_airflow.config.tables import load_settings
from offload_airflow.operators.freshness import FreshnessOperator

with DAG(
    dag_id="iceberg_offload_freshness",
    description="Tells how late the Iceberg tables are when that changes",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable(load_settings().freshness_schedule, "UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=10),
    # The next look comes by itself, and a second one would repeat what the first could tell.
    default_args={"owner": "data-platform", "retries": 0},
    tags=["iceberg", "clickhouse", "offload"],
):
    FreshnessOperator(task_id="freshness", execution_timeout=timedelta(minutes=4))
