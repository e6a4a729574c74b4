"""A temporary stack for measuring, with its own folder and ports."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path

import psutil

from benchmarks.left_running import LeftRunning
from benchmarks.measure import Command, CommandFailed
from benchmarks.results import ParityVerdict
from devstack.stack.airflow_api import AirflowApi
from devstack.stack.airflow_config import ADMIN
from devstack.stack.environment import exports
from devstack.stack.stack import SERVERS, Stack
from install.layout import Layout
from offload_core.config.connections import Connections, load_connections
from offload_core.config.settings import Settings
from offload_core.config.tables import DEFAULT_TABLES, TableConfig
from offload_core.failpoints import FAILPOINT_ENV, Failpoint
from offload_core.jobs import spark_submit
from offload_core.jobs.arguments import JobArguments
from offload_core.ledger.session import connect
from offload_core.source.clickhouse import ClickHouse

_SETTLE_SECONDS = 120


@dataclass
class BenchStack:
    """A running stack, and the commands that the cases measure."""

    layout: Layout
    stack: Stack
    environ: dict[str, str]

    def table(self, name: str) -> TableConfig:
        """Return one of the shipped tables."""
        return next(table for table in DEFAULT_TABLES if table.name == name)

    def servers(self) -> list[psutil.Process]:
        """Return the processes of ClickHouse and PostgreSQL."""
        return [psutil.Process(part.pid) for part in self.stack.status() if part.name in SERVERS and part.pid]

    @property
    def connections(self) -> Connections:
        """The connections to the servers, including passwords."""
        return load_connections(self.environ)

    @contextmanager
    def clickhouse(self) -> Iterator[ClickHouse]:
        """Open a ClickHouse client for work that is not measured."""
        with closing(ClickHouse(self.connections.clickhouse, timeout_seconds=600)) as client:
            yield client

    def settle(self) -> None:
        """Wait until ClickHouse has finished its merges, so that they do not disturb the measurement."""
        with self.clickhouse() as client:
            deadline = time.monotonic() + _SETTLE_SECONDS
            while client.rows("SELECT count() AS merges FROM system.merges")[0]["merges"] != "0":
                if time.monotonic() > deadline:
                    raise CommandFailed(f"ClickHouse is still merging after {_SETTLE_SECONDS} seconds")
                time.sleep(0.2)

    def metadata(self, target: str) -> str:
        """Return the location of the current metadata of a table in the catalog."""
        namespace, _, name = target.rpartition(".")
        query = "SELECT metadata_location FROM iceberg_tables WHERE table_namespace = %s AND table_name = %s"
        with closing(connect(self.connections.postgres)) as session:
            record = session.execute(query, (namespace, name)).fetchone()
        if record is None:
            raise CommandFailed(f"the catalog has no table {target}")
        return str(record["metadata_location"])

    def delete_files(self, target: str) -> None:
        """Delete the files of an Iceberg table that is no longer needed; the catalog keeps its entry."""
        shutil.rmtree(self.layout.home / "warehouse" / Path(*target.split(".")), ignore_errors=True)

    def airflow(self) -> list[psutil.Process]:
        """Return the other processes: Airflow's scheduler with its tasks, web interface, exporter."""
        return [psutil.Process(part.pid) for part in self.stack.status() if part.name not in SERVERS and part.pid]

    def left_running(self) -> LeftRunning:
        """Return the processes that this stack's jobs leave running."""
        return LeftRunning(self.layout.home, [psutil.Process(), *self.servers(), *self.airflow()])

    @cached_property
    def api(self) -> AirflowApi:
        """Airflow's REST API, in one session, because a login costs Airflow more time than an answer."""
        airflow = self.stack.airflow
        return AirflowApi(
            f"http://127.0.0.1:{airflow.port}", ADMIN, airflow.password_file.read_text().strip(), airflow.version
        )

    def run(self, command: Command) -> str:
        """Run a command that is not measured.

        Raises:
            CommandFailed: the command failed.
        """
        result = subprocess.run(command.argv, env=command.environ, capture_output=True, text=True, check=False)
        if result.returncode:
            raise CommandFailed(f"{' '.join(command.argv[:3])}: {result.stdout}{result.stderr}")
        return result.stdout

    def run_killed(self, job: Command, point: Failpoint) -> None:
        """Run a job that kills itself (SIGKILL) at a failpoint.

        Raises:
            CommandFailed: the job ended in another way.
        """
        environ = {**job.environ, FAILPOINT_ENV: f"{point.value}:kill"}
        result = subprocess.run(job.argv, env=environ, capture_output=True, text=True, check=False)
        if result.returncode != 128 + signal.SIGKILL:
            raise CommandFailed(
                f"A job that should have been killed ended with {result.returncode}: {result.stdout}{result.stderr}"
            )

    def offload(self, *arguments: str, **variables: str) -> str:
        """Run `offload`, with additional environment variables.

        Raises:
            CommandFailed: the command failed.
        """
        return self.run(self.command(*arguments, **variables))

    def command(self, *arguments: str, **variables: str) -> Command:
        """Return an `offload` command to measure."""
        return Command([str(self.layout.checkout / "bin" / "offload"), *arguments], {**self.environ, **variables})

    def feed(self, rows: int, start: datetime, end: datetime, exchanges: Sequence[str]) -> None:
        """Insert generated trades."""
        options = [option for exchange in exchanges for option in ("--exchange", exchange)]
        span = ["--rows", str(rows), "--from", start.isoformat(), "--to", end.isoformat()]
        python = str(self.layout.python("devstack"))
        self.run(Command([python, "-m", "devstack.market_feed", "history", *options, *span], self.environ))

    def init(self, *tables: TableConfig) -> None:
        """Create Iceberg tables for tables that are not shipped."""
        listed = json.dumps([table.model_dump(mode="json") for table in tables])
        self.offload("init", OFFLOAD_TABLES=listed)

    def job(self, table: TableConfig, until: datetime | None = None, settings: Settings | None = None) -> Command:
        """Return the command that runs the Spark job of one table, as Airflow's operator builds it.

        Args:
            table: the table's configuration.
            until: the last timestamp to move; None for everything that has arrived.
            settings: settings that differ from the defaults.
        """
        settings = settings or Settings()
        command = [str(Path(self.environ["OFFLOAD_SPARK_HOME"], "bin", "spark-submit")), "--master", "local[*]"]
        for key, value in spark_submit.configuration(self.environ).items():
            command += ["--conf", f"{key}={value}"]
        command += ["--driver-memory", settings.driver_memory]
        end = until + timedelta(minutes=settings.buffer_minutes) if until else None
        arguments = JobArguments(table, settings, interval_end=end, run_id="bench")
        return Command([*command, str(spark_submit.application(self.environ)), *arguments.to_argv()], self.environ)

    def verdict(self, *tables: str, **variables: str) -> ParityVerdict:
        """Whether these of our tables hold exactly the hot tier's rows, as `offload verify` finds."""
        command = self.command("verify", "--json", *tables, **variables)
        result = subprocess.run(command.argv, env=command.environ, capture_output=True, text=True, check=False)
        if result.returncode:
            return ParityVerdict(False, f"offload verify: {(result.stdout + result.stderr).strip()[:500]}")
        empty = [row["table"] for row in json.loads(result.stdout) if not row["cold_rows"]]
        return ParityVerdict(not empty, f"without a row: {', '.join(empty)}" if empty else "")


@contextmanager
def bench_stack(*, airflow: bool) -> Iterator[BenchStack]:
    """Run a new stack with the nine tables; stop and delete it afterwards."""
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
    """Return the time this many hours ago (UTC), in full seconds."""
    return datetime.now(timezone.utc).replace(microsecond=0) - timedelta(hours=hours)


def yesterday(hour: float) -> datetime:
    """Return a time of yesterday (UTC), a day that is complete."""
    today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(hours=24 - hour)
