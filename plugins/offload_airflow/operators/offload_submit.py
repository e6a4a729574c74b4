"""The operator that runs one table's Spark job."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator

from offload_airflow.compat import AirflowSkipException, AirflowTaskTimeout, Context, interval_end
from offload_airflow.failures import airflow_failures, record_failure
from offload_airflow.hooks.connections import load_connections
from offload_airflow.hooks.ledger import LedgerHook
from offload_airflow.hooks.offload_submit import OffloadSubmitHook
from offload_airflow.table_configs import find_table, load_settings
from offload_core import spark_submit
from offload_core.connections import CONNECTIONS_ENV
from offload_core.errors import AttemptTimedOut, OffloadError, SparkFailed
from offload_core.job_arguments import JobArguments
from offload_core.table_config import Settings

if TYPE_CHECKING:
    import jinja2

_PASSED_ON = (
    "conf",
    "files",
    "py_files",
    "jars",
    "driver_class_path",
    "packages",
    "exclude_packages",
    "proxy_user",
    "name",
    "application_args",
    "env_vars",
    "properties_file",
)


class OffloadSubmitOperator(SparkSubmitOperator):
    """Submits the offload's job for one table.

    Its arguments are made from the Variables when the task runs, so that an edit counts at once; they show in the
    rendered template. Passwords go to the job by its environment and show nowhere.

    Args:
        table: the table's short name.
    """

    template_fields: Sequence[str] = ("table", *SparkSubmitOperator.template_fields)
    ui_color = "#fdebd0"

    def __init__(self, *, table: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = table

    @cached_property
    def settings(self) -> Settings:
        """The settings as they are when the task runs."""
        return load_settings()

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Fill in what the job is given; the values are final, nothing in them is a template."""
        super().render_template_fields(context, jinja_env)
        with airflow_failures(self.log, self.table):
            table = find_table(self.table)
            if table is None:
                raise AirflowSkipException(f"{self.table} has been disabled or removed from the configuration.")
            settings = self.settings
            attempt = context["ti"].try_number
            arguments = JobArguments(table, settings, interval_end(context), context["run_id"], attempt)
            self.application = str(spark_submit.application(os.environ))
            self.application_args = arguments.to_argv()
            self.name = f"{settings.pipeline_id}.{table.name}"
            self.conf = {**spark_submit.configuration(os.environ), **settings.spark_conf, **(self.conf or {})}

    def execute(self, context: Context) -> None:
        """Run the job.

        Raises:
            AirflowFailException: an error that stays until somebody changes something.
            AirflowException, OffloadError: an error that the next attempt may not meet.
        """
        with airflow_failures(self.log, self.table):
            # Not super().execute(): Airflow 2.11 takes that for an operator within an operator and warns. What it does
            # besides is for drivers on a cluster, which this hook refuses.
            self._hook = self._get_hook()
            try:
                self._hook.submit(self.application)
            except SparkFailed as error:
                self._record(context, error)
                raise
            except AirflowTaskTimeout:
                self._record(context, self._timed_out())
                raise

    def on_kill(self) -> None:
        """End the job with the task."""
        if self._hook is not None:
            self._hook.on_kill()

    def _get_hook(self) -> OffloadSubmitHook:
        secrets = {CONNECTIONS_ENV: load_connections(self.settings).with_secrets_json()}
        return OffloadSubmitHook(
            child_environment={**spark_submit.environment(os.environ), **secrets},
            conn_id=self.settings.spark_conn_id,
            driver_memory=self.settings.driver_memory,
            executor_memory=self.settings.executor_memory,
            **{field: getattr(self, field) for field in _PASSED_ON},
        )

    def _timed_out(self) -> AttemptTimedOut:
        error = AttemptTimedOut(
            f"The attempt took longer than {self.execution_timeout} and was ended; what it had committed stays.",
            "If it happens again, lower max_rows_per_commit or raise task_timeout_minutes in the settings.",
        )
        self.log.error("✗ Offload failed: %s: %s", self.table, error)
        return error

    def _record(self, context: Context, error: OffloadError) -> None:
        """Count a failure that the job itself could not write down."""
        hook = LedgerHook(postgres_conn_id=self.settings.postgres_conn_id, pipeline_id=self.settings.pipeline_id)
        run_id, attempt = context["run_id"], context["ti"].try_number
        try:
            with hook.open() as ledger:
                record_failure(ledger, self.log, self.table, error, run_id=run_id, attempt=attempt)
        except OffloadError as second:
            self.log.warning("The failure could not be recorded in the ledger: %s", second)
