"""A small installation of its own for a test: hot tier, ledger, catalog, warehouse, and the real Spark job."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from devstack.stack.environment import exports
from install.layout import Layout
from offload_core.config.connections import CONNECTIONS_ENV, Connections
from offload_core.config.settings import Settings
from offload_core.config.tables import DEFAULT_TABLES, TableConfig
from offload_core.failpoints import FAILPOINT_ENV, PAUSE_FILE_ENV
from offload_core.jobs import shared_jvm, spark_submit
from offload_core.jobs.arguments import JobArguments
from offload_core.ledger.ddl import statements
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.rows import LedgerRow
from offload_core.ledger.session import connect
from offload_core.protocol.plan import RunMode
from offload_core.protocol.window import Cursor
from offload_core.source.clickhouse import ClickHouse
from offload_ops.tiers.verify import Verdict, verify
from tests.support.checkout import CHECKOUT
from tests.support.reaper import run_folder
from tests.support.stack.servers import clickhouse_database, postgres_database, unique_name
from tests.support.waiting import wait_until

JOB_SECONDS = 240
MASTER_ENV = "OFFLOAD_TEST_SPARK_MASTER"
"""Spark master of the jobs, to run the suite on a cluster (client mode). The cluster must reach the warehouse."""


_LOCAL = "local[2]"
_INIT = str(Path(__file__).parent / "shared_init" / "offload_init.py")
"""Only its neighbour `offload_shared.py` exists and is run."""
_LEFT_OUT = ("OFFLOAD_", "PYTHONPATH", "PYTEST_")


@cache
def _common_share() -> Path:
    """The folder of the applications that all jobs of this test process share."""
    folder = run_folder() / "spark"
    folder.mkdir(mode=0o700)
    atexit.register(shared_jvm.stop_all, folder)
    return folder


@dataclass(frozen=True)
class FinishedJob:
    """A job that has ended, with its exit status (negative: the signal) and its output."""

    status: int
    output: str

    @property
    def error(self) -> dict[str, object]:
        """The error in the job's last line."""
        line = next(line for line in self.output.splitlines() if line.startswith("OFFLOAD_ERROR "))
        report: dict[str, object] = json.loads(line.removeprefix("OFFLOAD_ERROR "))
        return report

    @property
    def answer(self) -> dict[str, Any]:
        """The last JSON object that a script has printed; warnings from Spark may follow it."""
        line = next(line for line in reversed(self.output.splitlines()) if line.startswith("{"))
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass
class World:
    """The databases and the warehouse of one test, and what a test does with them."""

    connections: Connections
    hot: ClickHouse
    folder: Path
    settings: Settings = field(default_factory=Settings)
    keep_seconds: float = 0
    """How long a Spark application that jobs share waits for the next one; 0: every job has its own."""
    share: Path = Path()
    """The folder of the shared applications' sockets."""

    @property
    def warehouse(self) -> Path:
        """The folder of the Iceberg tables, if the warehouse is local."""
        return Path(urlparse(self.connections.iceberg.warehouse).path)

    def table(self, name: str) -> TableConfig:
        """One of the shipped tables, by its short name."""
        return next(table for table in DEFAULT_TABLES if table.name == name)

    def create_hot_tier(self) -> None:
        """Create the shipped ClickHouse tables."""
        for statement in statements(CHECKOUT / "include" / "sql" / "clickhouse"):
            self.hot.command(statement)

    def init(self, *tables: TableConfig) -> None:
        """Create the Iceberg tables and the first watermarks as `offload init` does, in a shared application."""
        with self.ledger() as ledger:
            ledger.create(CHECKOUT / "include" / "sql" / "postgres")
            listed = json.dumps([table.model_dump(mode="json") for table in tables])
            result = self.finish(self._sharing().submit(_INIT, [listed], master=_LOCAL))
            assert result.status == 0, result.output
            for table in tables:
                ledger.initialize(table.name)

    def offload(self, *arguments: str, environ: dict[str, str] | None = None, status: int = 0) -> str:
        """Run the operator's command; its exit status must be `status`."""
        return self.command([str(CHECKOUT / "bin" / "offload"), *arguments], environ=environ, status=status)

    def command(self, command: Sequence[str], *, environ: dict[str, str] | None = None, status: int = 0) -> str:
        """Run a command with these servers' connections; its exit status must be `status`."""
        python_path = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "plugins")])
        result = subprocess.run(
            command,
            env={**self.environ(), "PYTHONPATH": python_path, **(environ or {})},
            capture_output=True,
            text=True,
            timeout=JOB_SECONDS,
            check=False,
        )
        assert result.returncode == status, f"{command[1:]}: {result.stdout}{result.stderr}"
        return result.stdout + result.stderr

    def environ(self) -> dict[str, str]:
        """The environment of a command: it has the connections, so that passwords are on no command line."""
        layout = Layout.of_checkout()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)}
        spark = {name: value for name, value in exports(layout).items() if name != "OFFLOAD_CONNECTIONS_FILE"}
        own = {
            CONNECTIONS_ENV: self.connections.with_secrets_json(),
            "OFFLOAD_SETTINGS": self.settings.model_dump_json(),
        }
        return {**kept, **spark, **own, "OFFLOAD_ENVS": str(layout.envs)}

    def start(
        self,
        table: TableConfig,
        *,
        interval_end: datetime | None = None,
        interval_start: datetime | None = None,
        mode: RunMode = RunMode.OFFLOAD,
        run_id: str = "test",
        attempt: int = 1,
        environ: dict[str, str] | None = None,
        java_options: str = "",
    ) -> subprocess.Popen[str]:
        """Start the Spark job of one table in a process group of its own."""
        arguments = JobArguments(table, self.settings, interval_end, run_id, attempt, interval_start, mode)
        application = str(spark_submit.application(self.environ()))
        return self.submit(application, arguments.to_argv(), environ=environ, java_options=java_options)

    def submit(
        self,
        application: str,
        argv: Sequence[str],
        *,
        environ: dict[str, str] | None = None,
        java_options: str = "",
        master: str = "",
    ) -> subprocess.Popen[str]:
        """Start a Python application under spark-submit, by default on the suite's master."""
        env = {**self.environ(), **(environ or {})}
        command = [
            str(Path(env["OFFLOAD_SPARK_HOME"], "bin", "spark-submit")),
            "--master",
            master or os.environ.get(MASTER_ENV, _LOCAL),
        ]
        for key, value in spark_submit.configuration(env, s3=self.connections.iceberg.is_in_s3).items():
            command += [
                "--conf",
                f"{key}={value} {java_options}" if key.endswith("extraJavaOptions") else f"{key}={value}",
            ]
        command += [application, *argv]
        if self.keep_seconds and command[2].startswith("local"):
            program = [sys.executable, "-I", "-S", shared_jvm.__file__, str(self.keep_seconds), application]
            command = [*program, *command]
        return subprocess.Popen(
            command,
            env={**env, **spark_submit.environment(env), shared_jvm.FOLDER_ENV: str(self.share)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            start_new_session=True,
        )

    def finish(self, job: subprocess.Popen[str]) -> FinishedJob:
        """Wait for a job to end; a job that hangs is killed with its whole process group."""
        try:
            output, _ = job.communicate(timeout=JOB_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(job.pid, signal.SIGKILL)
            raise
        return FinishedJob(job.returncode, output)

    def run(self, table: TableConfig, **options: object) -> FinishedJob:
        """Run the Spark job of one table until it ends, successfully or not.

        Jobs share one application, as they do in Airflow, unless they get an environment or a JVM of their own.
        """
        own = self.keep_seconds or "environ" in options or "java_options" in options
        world = self if own else self._sharing()
        return world.finish(world.start(table, **options))  # type: ignore[arg-type]

    def run_well(self, table: TableConfig, **options: object) -> FinishedJob:
        """Run the Spark job of one table, which must succeed."""
        result = self.run(table, **options)
        assert result.status == 0, result.output
        return result

    def run_armed(self, table: TableConfig, failpoint: str, **options: object) -> FinishedJob:
        """Run the job with an armed failpoint, for example `after-publish:kill`."""
        return self.run(table, environ={FAILPOINT_ENV: failpoint}, **options)

    @contextmanager
    def paused(self, table: TableConfig, point: str, **options: object) -> Iterator[subprocess.Popen[str]]:
        """A job that waits at a failpoint while the block runs, and continues after it."""
        waiting = self.folder / f"paused-{uuid.uuid4().hex}"
        environ = {FAILPOINT_ENV: f"{point}:pause", PAUSE_FILE_ENV: str(waiting)}
        job = self.start(table, environ=environ, **options)  # type: ignore[arg-type]
        try:
            wait_until(lambda: waiting.exists() or job.poll() is not None, f"{table.name} at {point}")
            assert job.poll() is None, job.communicate()[0]
            yield job
        except BaseException:
            os.killpg(job.pid, signal.SIGKILL)
            job.communicate()
            raise
        finally:
            waiting.unlink(missing_ok=True)

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger over a session of its own."""
        with closing(connect(self.connections.postgres)) as session:
            yield Ledger(session, self.settings.pipeline_id)

    def history(self, table: TableConfig) -> list[LedgerRow]:
        """A table's ledger rows, newest first."""
        with self.ledger() as ledger:
            return ledger.history(table.name, 1000)

    def reset(self, table: TableConfig, cursor: Cursor) -> None:
        """Set a table's watermark."""
        with self.ledger() as ledger:
            ledger.reset(table.name, cursor)

    def compare(self, table: TableConfig) -> Verdict:
        """Compare both tiers up to the watermark, by count and hash."""
        with self.ledger() as ledger:
            return verify(self.hot, self.connections, table, ledger.cursor(table.name))

    def require_equal(self, table: TableConfig, rows: int | None = None) -> None:
        """Check that the cold tier holds exactly the hot tier's rows, and that there are `rows` of them."""
        verdict = self.compare(table)
        assert verdict.equal, verdict
        assert rows is None or verdict.cold.rows == rows, verdict

    def _sharing(self) -> World:
        """The same world, whose jobs share an application with those of all other worlds."""
        return replace(self, keep_seconds=60.0, share=_common_share())

    def with_settings(self, **values: object) -> World:
        """The same world with other settings."""
        return replace(self, settings=Settings.model_validate({**self.settings.model_dump(), **values}))


@contextmanager
def new_world(servers: Connections, folder: Path) -> Iterator[World]:
    """A world with databases in ClickHouse and PostgreSQL, which are dropped at the end, and files in `folder`."""
    with ExitStack() as stack:
        hot = stack.enter_context(clickhouse_database(servers.clickhouse, "offload_test"))
        ledger = stack.enter_context(postgres_database(servers.postgres, "offload_test"))
        # ClickHouse reads Iceberg only below its own folder for files, which is the stack's warehouse.
        warehouse = f"{servers.iceberg.warehouse}/{unique_name('test')}"
        iceberg = servers.iceberg.model_copy(
            update={
                "uri": f"jdbc:postgresql://{ledger.host}:{ledger.port}/{ledger.database}",
                "warehouse": warehouse,
                "user": ledger.user,
                "password": ledger.password,
                "type": "jdbc",
            }
        )
        yield World(Connections(clickhouse=hot.connection, postgres=ledger, iceberg=iceberg), hot.client, folder)


@pytest.fixture
def world(servers: Connections, tmp_path: Path) -> Iterator[World]:
    """A world for one test."""
    with new_world(servers, tmp_path) as world:
        yield world
