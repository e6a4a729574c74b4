"""The operator that runs one table's Spark job."""

from __future__ import annotations

import os
from pathlib import Path

from offload_airflow.compat.context import data_interval
from offload_airflow.compat.sdk import Context
from offload_airflow.notify.failures import record_failure
from offload_airflow.operators.table_job import TableJobOperator
from offload_airflow.requests.run import run_request, run_scope
from offload_core.config.tables import TableConfig
from offload_core.errors import AttemptTimedOut, OffloadError
from offload_core.jobs import spark_submit
from offload_core.jobs.arguments import JobArguments


class OffloadSubmitOperator(TableJobOperator):
    """Submits the job that offloads one table."""

    def job_application(self) -> Path:
        """`offload_generic.py`."""
        return spark_submit.application(os.environ)

    def job_arguments(self, context: Context, table: TableConfig) -> JobArguments:
        """The table, and the mode and interval of the run."""
        scope = run_scope(run_request(context), data_interval(context))
        return JobArguments(
            table,
            self.settings,
            interval_start=scope.start,
            interval_end=scope.end,
            mode=scope.mode,
            run_id=context["run_id"],
            attempt=context["ti"].try_number,
        )

    def timed_out(self) -> AttemptTimedOut:
        """The error of an attempt that took too long."""
        return AttemptTimedOut(
            f"The attempt took longer than {self.execution_timeout} and was ended. What it has committed stays.",
            "If it happens again, lower max_rows_per_commit or raise task_timeout_minutes in the settings.",
        )

    def record(self, context: Context, error: OffloadError) -> None:
        """Record the failure in the ledger."""
        run_id, attempt = context["run_id"], context["ti"].try_number
        try:
            with self.ledger.open() as ledger:
                record_failure(ledger, self.log, self.table, error, run_id=run_id, attempt=attempt)
        except OffloadError as second:
            self.log.warning("The failure could not be recorded in the ledger: %s", second)
