"""spark-submit for the offload's job."""

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
from offload_core.errors import FixConfiguration, OffloadError, SparkFailed, SparkOutOfMemory
from offload_core.jobs import shared_jvm
from offload_core.jobs.outcome import EXIT_FINAL, EXIT_RETRY, ReportedError, read_line

_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
_OUT_OF_MEMORY = "java.lang.OutOfMemoryError"
_PATIENCE_SECONDS = 5
_SHARED_NAME = "iceberg_offload"


class OffloadSubmitHook(RequiresConnection, SparkSubmitHook):
    """Runs the job in a process group of its own, understands how it ended, and keeps secrets off the command line.

    Args:
        child_environment: environment variables for spark-submit alone. Unlike `env_vars`, which become `--conf`
            arguments with YARN and Kubernetes, they are never written anywhere.
        keep_seconds: how long a Spark application on this machine waits for the next job; 0: every job has one of its own,
            as it always has with a master elsewhere.
    """

    def __init__(self, *, child_environment: Mapping[str, str], keep_seconds: float = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._child_environment = child_environment
        self._keep_seconds = keep_seconds
        self._reported: ReportedError | None = None
        self._ran_out_of_memory = False
        self._was_ended = False
        if self._connection["deploy_mode"] == "cluster":
            raise FixConfiguration(
                f"The Airflow Connection `{self._conn_id}` says deploy-mode cluster, where the driver runs on another "
                "machine: the passwords would have to travel there on spark-submit's command line.",
                "Set deploy-mode to client; the executors still run on the cluster. To run the driver there too, "
                "submit the job yourself, with OFFLOAD_CONNECTIONS_FILE naming a file on that machine.",
            )

    def submit(self, application: str = "", **kwargs: Any) -> str | None:
        """Run the job to its end; a timeout ends it first.

        Raises:
            AirflowFailException: the job says that a retry can't help.
            AirflowException: the job says that a retry may help.
            SparkFailed: it ended without a word.
            FixConfiguration: there is no spark-submit.
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
        """End spark-submit, its JVM and the Python it started: first politely, then by force."""
        process = self._submit_sp
        if process is None or process.poll() is not None:
            return
        self._was_ended = True
        self.log.info("Ending spark-submit and everything it started (process group %s).", process.pid)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE_SECONDS)

    def _build_spark_submit_command(self, application: str) -> list[str]:
        program: list[str] = []
        if self._shares():
            # -I and -S: the program needs nothing but the standard library, and starts in 20 ms.
            program = [sys.executable, "-I", "-S", shared_jvm.__file__, str(self._keep_seconds), application]
            # Tables share an application where all its options are the same, its name too.
            self._name = _SHARED_NAME
        command: list[str] = super()._build_spark_submit_command(application)
        # Only now: with some masters spark-submit's arguments would carry what is in here.
        self._env = {**(self._env or {}), **self._child_environment}
        return [*program, *command]

    def _shares(self) -> bool:
        is_here = str(self._connection["master"]).startswith("local")
        binary, path = str(self._connection["spark_binary"]), self._child_environment.get("PATH")
        return self._keep_seconds > 0 and is_here and shutil.which(binary, path=path) is not None

    def _process_spark_submit_log(self, itr: Iterator[Any]) -> None:
        super()._process_spark_submit_log(self._listen(itr))

    def _listen(self, lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            self._reported = read_line(line.strip()) or self._reported
            self._ran_out_of_memory |= _OUT_OF_MEMORY in line
            yield line

    def _failure(self, code: int) -> OffloadError | AirflowException:
        if self._was_ended:
            return AirflowException("The Spark job was ended, for its task was told to end.")
        if self._reported is not None and code == EXIT_FINAL:
            return AirflowFailException(self._reported.message)
        if self._reported is not None and code == EXIT_RETRY:
            return AirflowException(self._reported.message)
        if self._ran_out_of_memory or code in _KILLED:
            what = "ran out of memory" if self._ran_out_of_memory else "was killed, most likely for want of memory"
            return SparkOutOfMemory(
                f"The Spark job {what} (exit code {code}).",
                "Raise driver_memory, or lower max_rows_per_commit, in the Variable `iceberg_offload_settings`.",
            )
        return SparkFailed(
            f"The Spark job ended with exit code {code} and no word of its own.", "Its last lines of output say more."
        )
