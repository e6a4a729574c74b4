"""spark-submit for the jobs of the offload."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook

from offload_airflow.compat.sdk import AirflowException, AirflowFailException, AirflowTaskTimeout
from offload_airflow.hooks.lookup import RequiresConnection
from offload_core.errors import FixConfiguration, OffloadError
from offload_core.jobs import shared_jvm
from offload_core.jobs.outcome import JobFailed, JobOutput

_KILL_AFTER_SECONDS = 5
_SHARED_NAME = "iceberg_offload"


class OffloadSubmitHook(RequiresConnection, SparkSubmitHook):
    """Runs a job in its own process group, reports how it ended, and keeps secrets off the command line.

    Args:
        child_environment: environment variables for spark-submit only. With YARN and Kubernetes, `env_vars` become
            `--conf` arguments; these variables are never written anywhere.
        keep_seconds: how long a Spark application on this machine waits for the next job. With 0, or with a master on
            another machine, every job has its own application.
    """

    def __init__(self, *, child_environment: Mapping[str, str], keep_seconds: float = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._child_environment = child_environment
        self._keep_seconds = keep_seconds
        self._output = JobOutput()
        self._was_killed = False
        if self._connection["deploy_mode"] == "cluster":
            raise FixConfiguration(
                f"The Airflow Connection `{self._conn_id}` sets deploy-mode cluster. The driver would run on another "
                "machine, and spark-submit's command line would carry the passwords there.",
                "Set deploy-mode to client; the executors still run on the cluster. To run the driver there too, "
                "submit the job yourself, with OFFLOAD_CONNECTIONS_FILE naming a file on that machine.",
            )

    def submit(self, application: str = "", **kwargs: Any) -> str | None:
        """Run the job until it ends. A timeout of the task ends it early.

        Raises:
            AirflowFailException: the job reported an error that a retry can't fix.
            AirflowException: the job reported an error that a retry may fix.
            SparkFailed: the job failed without reporting an error.
            FixConfiguration: spark-submit was not found.
        """
        try:
            return super().submit(application, start_new_session=True, **kwargs)
        except FileNotFoundError as error:
            raise FixConfiguration(
                f"{self._connection['spark_binary']} is not on this worker's PATH.",
                "Install Spark there, or set OFFLOAD_SPARK_HOME to its folder.",
            ) from error
        except AirflowException as error:
            if self._submit_sp is None:
                raise
            raise self._failure(self._submit_sp.returncode) from error
        except AirflowTaskTimeout:
            self.on_kill()
            raise
        finally:
            if self._submit_sp is not None:
                self._submit_sp.stdout.close()

    def on_kill(self) -> None:
        """End spark-submit, its JVM and its Python process: first with SIGTERM, then with SIGKILL."""
        process = self._submit_sp
        if process is None or process.poll() is not None:
            return
        self._was_killed = True
        self.log.info("Ending spark-submit and everything it started (process group %s).", process.pid)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_KILL_AFTER_SECONDS)

    def _build_spark_submit_command(self, application: str) -> list[str]:
        program: list[str] = []
        if self._shares_application():
            # -I and -S: the program needs only the standard library, and so it starts in 20 ms.
            program = [sys.executable, "-I", "-S", shared_jvm.__file__, str(self._keep_seconds), application]
            # Jobs share an application if all its options are the same, including its name.
            self._name = _SHARED_NAME
        command: list[str] = super()._build_spark_submit_command(application)
        # Only now, because with some masters spark-submit's arguments would contain these variables.
        self._env = {**(self._env or {}), **self._child_environment}
        return [*program, *command]

    def _shares_application(self) -> bool:
        is_here = str(self._connection["master"]).startswith("local")
        binary, path = str(self._connection["spark_binary"]), self._child_environment.get("PATH")
        return self._keep_seconds > 0 and is_here and shutil.which(binary, path=path) is not None

    def _process_spark_submit_log(self, itr: Iterator[Any]) -> None:
        super()._process_spark_submit_log(self._collect_report(itr))

    def _collect_report(self, lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            self._output.read(line)
            yield line

    def _failure(self, code: int) -> OffloadError | AirflowException:
        if self._was_killed:
            return AirflowException("The Spark job was ended because its task was told to end.")
        error = self._output.failure(code)
        if not isinstance(error, JobFailed):
            return error
        # The job has recorded its failure in the ledger already; an exception of Airflow's is not recorded again.
        return (AirflowException if error.retryable else AirflowFailException)(error.report.message)
