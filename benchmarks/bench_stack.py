"""A stack for measuring: in a folder of its own, on ports of its own, gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psutil

from benchmarks.measure import CommandFailed
from embedded.airflow import ADMIN
from embedded.airflow_api import AirflowApi
from embedded.environment import exports
from embedded.layout import Layout
from embedded.stack import Stack
from offload_core import spark_submit
from offload_core.connections import load_connections
from offload_core.failpoints import FAILPOINT_ENV, Failpoint
from offload_core.job_arguments import JobArguments
from offload_core.settings import Settings
from offload_core.table_config import DEFAULT_TABLES, TableConfig


@dataclass
class BenchStack:
    """A running stack and the commands that the cases measure."""

    layout: Layout
    stack: Stack
    environ: dict[str, str]

    def table(self, name: str) -> TableConfig:
        """One of the shipped tables."""
        return next(table for table in DEFAULT_TABLES if table.name == name)

    def servers(self) -> list[psutil.Process]:
        """The processes of ClickHouse and PostgreSQL."""
        parts = {part.name: part.pid for part in self.stack.status()}
        return [psutil.Process(pid) for name in ("clickhouse", "postgres") if (pid := parts.get(name))]

    def scheduler(self) -> list[psutil.Process]:
        """Airflow's scheduler, whose descendants run the tasks."""
        return [
            psutil.Process(part.pid) for part in self.stack.status() if part.name == "airflow-scheduler" and part.pid
        ]

    def api(self) -> AirflowApi:
        """Airflow's REST API."""
        airflow = self.stack.airflow
        return AirflowApi(f"http://127.0.0.1:{airflow.port}", ADMIN, airflow.password_file.read_text().strip())

    def run(self, *command: str) -> str:
        """Run a command that is not measured.

        Raises:
            CommandFailed: it did not succeed.
        """
        result = subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False)
        if result.returncode:
            raise CommandFailed(f"{' '.join(command[:3])}: {result.stdout}{result.stderr}")
        return result.stdout

    def run_killed(self, job: Sequence[str], point: Failpoint) -> None:
        """Run a job that dies, as by `kill -9`, at a failpoint.

        Raises:
            CommandFailed: it lived on.
        """
        environ = {**self.environ, FAILPOINT_ENV: f"{point.value}:kill"}
        result = subprocess.run(job, env=environ, capture_output=True, text=True, check=False)
        if result.returncode != 128 + signal.SIGKILL:
            raise CommandFailed(f"A job that was to die ended with {result.returncode}: {result.stdout}{result.stderr}")

    def offload(self, *arguments: str) -> str:
        """Run the operator's command."""
        return self.run(str(self.layout.checkout / "bin" / "offload"), *arguments)

    def feed(self, rows: int, start: datetime, end: datetime, exchanges: Sequence[str]) -> None:
        """Insert made-up trades."""
        options = [option for exchange in exchanges for option in ("--exchange", exchange)]
        span = ["--rows", str(rows), "--from", start.isoformat(), "--to", end.isoformat()]
        python = str(self.layout.python("embedded"))
        self.run(python, "-m", "embedded.market_feed", "history", *options, *span)

    def job(self, table: TableConfig) -> list[str]:
        """The command that runs the Spark job of one table, as the operator in Airflow builds it."""
        command = [str(Path(self.environ["OFFLOAD_SPARK_HOME"], "bin", "spark-submit")), "--master", "local[*]"]
        for key, value in spark_submit.configuration(self.environ).items():
            command += ["--conf", f"{key}={value}"]
        arguments = JobArguments(table, Settings(), run_id="bench")
        return [*command, str(spark_submit.application(self.environ)), *arguments.to_argv()]

    def is_right(self, *tables: str) -> bool:
        """Whether these tables hold exactly the hot tier's rows."""
        command = [str(self.layout.checkout / "bin" / "offload"), "verify", "--json", *tables]
        result = subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False)
        return result.returncode == 0 and all(row["cold_rows"] for row in json.loads(result.stdout))


@contextmanager
def bench_stack(*, airflow: bool) -> Iterator[BenchStack]:
    """A fresh stack with the nine tables, ended and deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="offload-bench-", ignore_cleanup_errors=True) as folder:
        layout = Layout.of_checkout({**os.environ, "OFFLOAD_HOME": folder})
        stack = Stack(layout)
        try:
            stack.up(lambda _: None, airflow=airflow)
            environ = {**os.environ, **exports(layout)}
            environ |= spark_submit.environment(environ)
            environ["PYTHONPATH"] += f"{os.pathsep}{layout.checkout}"
            environ["OFFLOAD_CONNECTIONS"] = load_connections(environ).with_secrets_json()
            bench = BenchStack(layout, stack, environ)
            bench.offload("init", "--hot-tier")
            yield bench
        finally:
            stack.down(lambda _: None)


def hours_ago(hours: float) -> datetime:
    """A moment in the past, on the full second."""
    return datetime.now(timezone.utc).replace(microsecond=0) - timedelta(hours=hours)
