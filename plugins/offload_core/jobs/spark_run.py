"""Running one of the offload's Spark applications to its end, without Airflow: what `offload init`, `repair` and `restate` do.

`OFFLOAD_SPARK_MASTER` says where it runs (default `local[*]`); the driver is always this machine's. Beside a running scheduler the
table's lock keeps the two apart.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from offload_core.config.connections import CONNECTIONS_ENV, Connections
from offload_core.config.settings import Settings
from offload_core.errors import FixConfiguration, OffloadError, SparkFailed, SparkOutOfMemory
from offload_core.jobs import spark_submit
from offload_core.jobs.arguments import JobArguments
from offload_core.jobs.outcome import ReportedError, read_line

MASTER_ENV = "OFFLOAD_SPARK_MASTER"

Echo = Callable[[str], object]

_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
_OUT_OF_MEMORY = "java.lang.OutOfMemoryError"
_PATIENCE_SECONDS = 10


class JobFailed(OffloadError):
    """The job says itself what is wrong and what to do; `kind` and `retryable` are those of its error."""

    def __init__(self, report: ReportedError) -> None:
        super().__init__("The Spark job failed:", report.message)
        # The job's error has become text on its way here; its class is known by these two.
        self.kind = report.kind  # type: ignore[misc]
        self.retryable = report.retryable  # type: ignore[misc]


def run_job(arguments: JobArguments, connections: Connections, echo: Echo) -> None:
    """Run `offload_generic.py` for one table.

    Args:
        arguments: what the job has to do.
        connections: the servers; passwords travel in the job's environment only.
        echo: is given each line that the job prints, while it runs.

    Raises:
        FixConfiguration: there is no spark-submit, or no application.
        JobFailed: the job said why it failed.
        SparkFailed: it ended without a word.
    """
    master = os.environ.get(MASTER_ENV) or "local[*]"
    run_application(
        spark_submit.application(os.environ), arguments.to_argv(), connections, arguments.settings, echo, master
    )


def run_application(
    application: Path,
    argv: Sequence[str],
    connections: Connections,
    settings: Settings,
    echo: Echo,
    master: str = "local[1]",
    *,
    bulk: bool = False,
) -> None:
    """Run an application under spark-submit; arguments and errors as `run_job`, `bulk` as `spark_submit.configuration`."""
    reported, out_of_memory = None, False
    lean = spark_submit.configuration(os.environ, bulk=bulk, s3=connections.iceberg.is_in_s3)
    with _start(_command(application, argv, settings, master, lean), connections) as process:
        try:
            for line in process.stdout or ():
                report = read_line(line)
                reported = report or reported
                out_of_memory |= _OUT_OF_MEMORY in line
                if report is None:
                    echo(line.rstrip("\n"))
        except BaseException:
            _end(process)
            raise
    if process.returncode:
        raise _failure(process.returncode, reported, out_of_memory)


def _command(
    application: Path, argv: Sequence[str], settings: Settings, master: str, lean: Mapping[str, str]
) -> list[str]:
    home = os.environ.get("OFFLOAD_SPARK_HOME")
    command = [str(Path(home, "bin", "spark-submit")) if home else "spark-submit", "--master", master]
    command += ["--driver-memory", settings.driver_memory, "--executor-memory", settings.executor_memory]
    for key, value in {**lean, **settings.spark_conf}.items():
        command += ["--conf", f"{key}={value}"]
    return [*command, str(application), *argv]


def _start(command: Sequence[str], connections: Connections) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        **spark_submit.environment(os.environ),
        CONNECTIONS_ENV: connections.with_secrets_json(),
    }
    try:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise FixConfiguration(
            "spark-submit was not found.",
            "Set OFFLOAD_SPARK_HOME to Spark's folder, or put its bin folder on the PATH.",
        ) from error


def _end(process: subprocess.Popen[str]) -> None:
    """End what still runs because the command was interrupted: spark-submit, its JVM and its Python."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_SECONDS)


def _failure(code: int, reported: ReportedError | None, out_of_memory: bool) -> OffloadError:
    if reported is not None:
        return JobFailed(reported)
    if out_of_memory or code in _KILLED:
        what = "ran out of memory" if out_of_memory else "was killed, most likely for want of memory"
        return SparkOutOfMemory(
            f"The Spark job {what} (exit code {code}).",
            "Raise driver_memory, or lower max_rows_per_commit, in the settings.",
        )
    return SparkFailed(
        f"The Spark job ended with exit code {code} and no word of its own.", "The lines it printed say more."
    )
