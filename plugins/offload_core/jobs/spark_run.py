"""Running one of the offload's Spark applications without Airflow, as `offload init`, `repair` and `restate` do.

`OFFLOAD_SPARK_MASTER` says where it runs (default `local[*]`); the driver always runs on this machine. The table's lock
keeps such a run apart from those that Airflow starts.
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
from offload_core.errors import FixConfiguration
from offload_core.jobs import spark_submit
from offload_core.jobs.arguments import JobArguments
from offload_core.jobs.outcome import JobOutput

MASTER_ENV = "OFFLOAD_SPARK_MASTER"

Echo = Callable[[str], object]

_KILL_AFTER_SECONDS = 10


def run_job(arguments: JobArguments, connections: Connections, echo: Echo) -> None:
    """Run `offload_generic.py` for one table.

    Args:
        arguments: what the job has to do.
        connections: the servers; passwords reach the job through its environment only.
        echo: called with each line that the job prints, while it runs.

    Raises:
        FixConfiguration: there is no spark-submit, or no application.
        JobFailed: the job reported an error.
        SparkOutOfMemory, SparkFailed: it failed without a report.
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
    """Run an application under spark-submit.

    Args:
        application: the Python file.
        argv: its arguments.
        connections: the servers; passwords reach the application through its environment only.
        settings: memory and options of Spark.
        echo: called with each line that the application prints, while it runs.
        master: Spark's master.
        bulk: see `spark_submit.configuration`.

    Raises:
        FixConfiguration: there is no spark-submit.
        JobFailed: the application reported an error.
        SparkOutOfMemory, SparkFailed: it failed without a report.
    """
    output = JobOutput()
    lean = spark_submit.configuration(os.environ, bulk=bulk, s3=connections.iceberg.is_in_s3)
    with _start(_command(application, argv, settings, master, lean), connections) as process:
        try:
            for line in process.stdout or ():
                if not output.read(line):
                    echo(line.rstrip("\n"))
        except BaseException:
            _end(process)
            raise
    if process.returncode:
        raise output.failure(process.returncode)


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
    """End spark-submit, its JVM and its Python after the command was interrupted."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_KILL_AFTER_SECONDS)
