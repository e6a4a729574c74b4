"""The tasks of the maintenance: one Spark job per table, the clean-up of ledger and logs, and a closing task."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from offload_airflow.compat.context import log_folders, task_states
from offload_airflow.compat.sdk import AirflowFailException, AirflowSkipException, BaseOperator, Context
from offload_airflow.config.tables import load_tables
from offload_airflow.dag_ids import DAG_IDS
from offload_airflow.hooks.mixin import OffloadSettingsMixin
from offload_airflow.notify.failures import airflow_failures
from offload_airflow.operators.table_job import TableJobOperator
from offload_airflow.requests.maintenance import requested_tables
from offload_core.config.tables import TableConfig, switched_on
from offload_core.errors import AttemptTimedOut
from offload_core.jobs import spark_submit
from offload_core.jobs.arguments import JobArguments
from offload_core.ledger.maintenance_log import MaintenanceLog
from offload_ops.old_files import delete_old_files


class MaintainTableOperator(TableJobOperator):
    """Submits the maintenance job of one table. It is skipped if the run is for other tables."""

    ui_color = "#d5f5e3"
    bulk = True

    @property
    def title(self) -> str:
        """The name of the work in the log."""
        return f"maintenance of {self.table}"

    def job_application(self) -> Path:
        """`offload_maintain.py`."""
        return spark_submit.maintenance_application(os.environ)

    def job_arguments(self, context: Context, table: TableConfig) -> JobArguments:
        """The table, the run and the attempt. The job reads the clock itself."""
        if table.name not in requested_tables(context, _names()):
            raise AirflowSkipException(f"This run's conf does not select {table.name}.")
        return JobArguments(table, self.settings, run_id=context["run_id"], attempt=context["ti"].try_number)

    def timed_out(self) -> AttemptTimedOut:
        """The error of an attempt that took too long."""
        return AttemptTimedOut(
            f"The attempt took longer than {self.execution_timeout} and was ended. What it has committed stays; "
            "the next attempt continues.",
            "If it happens again, lower compaction_batch_mb or raise maintenance_timeout_minutes in the settings.",
        )


class CleanLedgerOperator(OffloadSettingsMixin, BaseOperator):
    """Deletes ledger rows, audits and alerts that are older than their retention. What is still needed stays."""

    ui_color = "#d5f5e3"

    def execute(self, context: Context) -> None:
        """Delete, and log the numbers.

        Raises:
            AirflowFailException, OffloadError: PostgreSQL can't be reached or refused.
        """
        from offload_ops.alerts.notification_log import NotificationLog
        from offload_ops.audit.store import AuditStore  # slow to import; the DAG file must parse fast

        with airflow_failures(self.log, "the ledger's clean-up"):
            requested_tables(context, _names())
            settings, now = self.settings, datetime.now(timezone.utc)
            with self.ledger.open() as ledger:
                rows = ledger.clean_up(now - timedelta(days=settings.ledger_retention_days))
            self.log.info("Ledger rows older than %s days deleted: %s", settings.ledger_retention_days, rows)
            with self.ledger.open_connection() as session:
                audits = AuditStore(session, settings.pipeline_id).delete_old(
                    now - timedelta(days=settings.audit_keep_days)
                )
                alerts = NotificationLog(session, settings.pipeline_id).delete_old(
                    now - timedelta(days=settings.audit_keep_days)
                )
            self.log.info("Audits older than %s days deleted: %s", settings.audit_keep_days, audits)
            self.log.info("Alerts that were over before that deleted: %s", alerts)


class CleanLogsOperator(OffloadSettingsMixin, BaseOperator):
    """Deletes log files of the package's DAGs that are older than `log_retention_days`, on the machine where it runs.

    Airflow 2.11 has no setting for it, and a full disk stops everything. The logs of other DAGs are not touched.
    """

    ui_color = "#d5f5e3"

    def execute(self, context: Context) -> None:
        """Delete, and log the numbers."""
        with airflow_failures(self.log, "the logs' clean-up"):
            requested_tables(context, _names())
            days = self.settings.log_retention_days
            deleted = delete_old_files(log_folders(DAG_IDS), datetime.now(timezone.utc) - timedelta(days=days))
            self.log.info("Log files older than %g days deleted: %s", days, deleted)


class CloseMaintenanceOperator(OffloadSettingsMixin, BaseOperator):
    """Logs what happened to every table, and fails if any task failed, so that the whole run shows as failed.

    Args:
        tables: names of the run's tables by the ids of their tasks.
        others: ids of the run's other tasks.
    """

    ui_color = "#eaeded"

    def __init__(self, *, tables: dict[str, str], others: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tables = tables
        self.others = others

    def execute(self, context: Context) -> None:
        """Log one line per table.

        Raises:
            AirflowFailException: tasks failed, and the message names them all.
            OffloadError: PostgreSQL can't be read.
        """
        states = task_states(context)
        with airflow_failures(self.log, "this run"):
            for line in self._lines(context, states):
                self.log.info("%s", line)
        failed = [task for task in (*self.tables, *self.others) if states.get(task) not in ("success", "skipped")]
        if failed:
            raise AirflowFailException(f"{len(failed)} tasks failed: {', '.join(failed)}.")

    def _lines(self, context: Context, states: dict[str, str | None]) -> list[str]:
        with self.ledger.open_connection() as session:
            newest = MaintenanceLog(session, self.settings.pipeline_id).newest()
        lines = []
        for task, table in self.tables.items():
            record = newest.get(table)
            if states.get(task) == "success" and record is not None and record.run_id == context["run_id"]:
                files = f"data files {record.before.data_files} → {record.after.data_files}"
                snapshots = f"snapshots {record.before.snapshots} → {record.after.snapshots}"
                lines.append(f"✓ {table}: {files}, {snapshots}, {record.seconds:.1f} s")
            elif states.get(task) == "skipped":
                lines.append(f"- {table}: not selected, or switched off")
            else:
                lines.append(f"✗ {table}: {states.get(task)}: see the log of {task}")
        return lines


def _names() -> list[str]:
    """The names of all tables that are switched on, including wrong entries."""
    return [table.name for table in switched_on(load_tables())]
