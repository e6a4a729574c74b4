"""The common part of the operators that run a Spark job for one table."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator

from offload_airflow.compat.sdk import AirflowSkipException, AirflowTaskTimeout, Context
from offload_airflow.compat.secrets import find_connection
from offload_airflow.config.tables import find_table
from offload_airflow.hooks.connections import iceberg_connection, load_connections
from offload_airflow.hooks.mixin import OffloadSettingsMixin
from offload_airflow.hooks.offload_submit import OffloadSubmitHook
from offload_airflow.notify.failures import airflow_failures
from offload_core.config.connections import CONNECTIONS_ENV
from offload_core.config.tables import TableConfig
from offload_core.errors import AttemptTimedOut, OffloadError, SparkFailed
from offload_core.jobs import spark_submit
from offload_core.jobs.arguments import JobArguments

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


class TableJobOperator(OffloadSettingsMixin, SparkSubmitOperator):
    """Submits a Spark job for one table.

    Its arguments are built from the Variables when the task runs, so that an edit applies at once, and they are visible
    in the rendered template. Passwords reach the job through its environment and are never visible.

    Args:
        table: the table's short name.
    """

    template_fields: Sequence[str] = ("table", *SparkSubmitOperator.template_fields)
    ui_color = "#fdebd0"
    bulk: ClassVar[bool] = False
    """Whether the job processes so many rows that its JVM should use the optimizing compiler."""

    def __init__(self, *, table: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = table

    @property
    def title(self) -> str:
        """The name of the work in the log."""
        return self.table

    @abstractmethod
    def job_application(self) -> Path:
        """The job's entry point."""

    @abstractmethod
    def job_arguments(self, context: Context, table: TableConfig) -> JobArguments:
        """The arguments of the job. May raise AirflowSkipException."""

    @abstractmethod
    def timed_out(self) -> AttemptTimedOut:
        """The error of an attempt that took too long."""

    def record(self, context: Context, error: OffloadError) -> None:
        """Record a failure that the job itself could not record. By default, nothing is recorded."""

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Fill in the job and its arguments. They are final values, not templates."""
        super().render_template_fields(context, jinja_env)
        with airflow_failures(self.log, self.title):
            table = find_table(self.table)
            if table is None:
                raise AirflowSkipException(f"{self.table} has been disabled or removed from the configuration.")
            self.application_args = self.job_arguments(context, table).to_argv()
            self.application = str(self.job_application())
            self.name = f"{self.settings.pipeline_id}.{table.name}"
            catalog = find_connection(self.settings.iceberg_conn_id)  # `execute` reports a missing one
            s3 = catalog is not None and iceberg_connection(catalog).is_in_s3
            lean = spark_submit.configuration(os.environ, bulk=self.bulk, s3=s3)
            self.conf = {**lean, **self.settings.spark_conf, **(self.conf or {})}

    def execute(self, context: Context) -> None:
        """Run the job.

        Raises:
            AirflowFailException: an error that stays until somebody changes something.
            AirflowException, OffloadError: the next attempt may succeed.
        """
        with airflow_failures(self.log, self.title):
            # Not super().execute(): Airflow 2.11 takes that for an operator inside an operator and warns. Everything
            # else it does is for drivers on a cluster, which the hook refuses.
            self._hook = self._get_hook()
            try:
                self._hook.submit(self.application)
            except SparkFailed as error:
                self.record(context, error)
                raise
            except AirflowTaskTimeout:
                timeout = self.timed_out()
                self.log.error("✗ Offload failed: %s: %s", self.title, timeout)
                self.record(context, timeout)
                raise

    def on_kill(self) -> None:
        """End the job with the task."""
        if self._hook is not None:
            self._hook.on_kill()

    def _get_hook(self) -> OffloadSubmitHook:
        secrets = {CONNECTIONS_ENV: load_connections(self.settings).with_secrets_json()}
        return OffloadSubmitHook(
            child_environment={**spark_submit.environment(os.environ), **secrets},
            keep_seconds=0 if self.bulk else self.settings.keep_spark_seconds,
            conn_id=self.settings.spark_conn_id,
            driver_memory=self.settings.driver_memory,
            executor_memory=self.settings.executor_memory,
            **{field: getattr(self, field) for field in _PASSED_ON},
        )
