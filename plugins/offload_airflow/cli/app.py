"""The operator's command with the Connections and Variables of this Airflow."""

from __future__ import annotations

from offload_airflow.cli.backfill_command import backfill
from offload_airflow.cli.doctor import airflow_checks
from offload_airflow.compat.console import logs_on_stderr
from offload_airflow.compat.history import airflow_history
from offload_airflow.config.tables import load_settings, load_tables
from offload_airflow.dag_ids import DAG_ID
from offload_airflow.hooks.connections import load_connections
from offload_ops.cli.app import Context, add_command, run


def load() -> Context:
    """The context from Airflow's Connections and Variables."""
    settings = load_settings()
    return Context(
        load_connections(settings),
        load_tables(),
        settings,
        airflow_checks(settings.spark_conn_id),
        lambda period: airflow_history(DAG_ID, settings.schedule, period),
    )


# Only Airflow can run a backfill.
add_command(backfill)


def main() -> int:
    """Run this process's command line and return its exit status."""
    logs_on_stderr()
    return run(load)
