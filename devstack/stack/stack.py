"""Starts, stops and describes the whole stack of one state folder."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devstack.stack.airflow import Airflow
from devstack.stack.connections import StackConnections, describe, store
from devstack.stack.errors import AlreadyStartingError, PartFailedError
from devstack.stack.exporter import Exporter
from devstack.stack.files import private_folder, write_private
from devstack.stack.gateway import Gateway
from devstack.stack.ports import LOOPBACK, Ports
from devstack.stack.postgres import Postgres
from devstack.stack.processes import StackPart
from devstack.stack.secrets_file import Secrets
from install.layout import Layout

SERVERS = ("postgres", "clickhouse")
EXPORTER = "exporter"

ProgressReport = Callable[[str], None]
"""Receives one line of progress for people."""


@dataclass(frozen=True)
class PartStatus:
    """One line of `status`; `memory` is in bytes, `uptime` in seconds."""

    name: str
    state: str
    pid: int | None
    address: str
    memory: int
    uptime: float | None
    data: str

    @property
    def is_up(self) -> bool:
        """Whether the part runs and answers."""
        return self.state == "running"


class Stack:
    """PostgreSQL, ClickHouse and, optionally, Airflow and the metrics exporter, with all their state in one folder."""

    def __init__(self, layout: Layout) -> None:
        """Create the state folder and its secrets unless they exist; start nothing."""
        layout.home.mkdir(parents=True, exist_ok=True)
        # Other users may pass through, because root starts PostgreSQL as another user. Every folder inside is closed.
        layout.home.chmod(0o711)
        for folder in (layout.run, layout.logs, layout.home / "warehouse"):
            private_folder(folder)
        self.layout = layout
        self.secrets = Secrets.of_home(layout.home)
        self.postgres = Postgres(layout, self.secrets)
        self.gateway = Gateway(layout, self.secrets)
        self.airflow = Airflow(layout, self.secrets)
        self.exporter = Exporter(layout)
        self._expected_file = layout.run / "wanted.json"

    def up(self, report: ProgressReport, *, airflow: bool, upgrade: bool = False) -> StackConnections:
        """Start the parts that are not running and return the connections. A repeated call repairs parts that died.

        Args:
            report: receives the progress.
            airflow: whether to start Airflow and the exporter too.
            upgrade: whether Airflow 2.11 may be upgraded to Airflow 3; its parts are stopped first.

        Raises:
            AlreadyStartingError: another command uses the same state folder.
            OtherVersionError: the state folder belongs to the other Airflow version.
            PartFailedError: a part does not start; the message names its log.
        """
        with self._lock():
            if airflow:
                self.airflow.settle_version(upgrade=upgrade)
            self._expect([*SERVERS, *((*self._airflow_names(), EXPORTER) if airflow else ())])
            ports = Ports(self.layout.run)
            with _timed(report, "PostgreSQL"):
                postgres_port = self.postgres.start(ports)
            with _timed(report, "ClickHouse"):
                http, native = self.gateway.start(ports)
            connections = describe(self.layout, self.secrets, postgres=postgres_port, http=http, native=native)
            store(self.layout, connections)
            if airflow:
                with _timed(report, "Airflow"):
                    airflow_port = self.airflow.start(ports, self.postgres, connections)
                self._start_exporter(report, ports, postgres=postgres_port, airflow=airflow_port)
            return connections

    def _start_exporter(self, report: ProgressReport, ports: Ports, *, postgres: int, airflow: int) -> None:
        """Start the exporter. If it does not start, report that and continue, because the offload does not need it."""
        try:
            with _timed(report, "Exporter"):
                self.exporter.start(ports, postgres=postgres, airflow=airflow)
        except PartFailedError as error:
            report(f"Exporter: {error}")

    def down(self, report: ProgressReport) -> None:
        """Stop every process of the stack and wait until all are gone; the data stays.

        Raises:
            AlreadyStartingError: another command uses the same state folder.
            PartStuckError: a process does not end.
        """
        with self._lock():
            for name, stop in (
                ("Exporter", self.exporter.stop),
                ("Airflow", self.airflow.stop),
                ("ClickHouse", self.gateway.stop),
                ("PostgreSQL", self.postgres.stop),
            ):
                start = time.monotonic()
                if stop():
                    report(f"{name} stopped after {time.monotonic() - start:.1f} s")
            self._expected_file.unlink(missing_ok=True)

    def status(self) -> list[PartStatus]:
        """Return the status of the parts that the last `up` requested, and always of the two servers."""
        expected = self._expected()
        health = self.airflow.health()
        http, native = self.gateway.ports or (None, None)
        web = f"http://{LOOPBACK}:{self.airflow.port}"
        rows = [
            self._row(
                self.postgres.part, self.postgres.answers(), f"{LOOPBACK}:{self.postgres.port}", self.postgres.data
            ),
            self._row(
                self.gateway.part,
                self.gateway.answers(),
                f"http://{LOOPBACK}:{http}, native {native}",
                self.gateway.data,
            ),
            *(
                self._row(
                    part, health.of(part.name), web if part.name == self.airflow.web.name else "-", self.airflow.home
                )
                for part in self.airflow.parts
            ),
            self._row(self.exporter.part, self.exporter.answers(), self.exporter.url or "-", self.layout.run),
        ]
        return [row for row in rows if row.name in expected]

    def _row(self, part: StackPart, answers: bool, address: str, data: Path) -> PartStatus:
        process = part.process()
        if process is None:
            state = "died" if part.record() else "stopped"
            return PartStatus(part.name, state, None, "-", 0, None, str(data))
        uptime = time.time() - process.create_time()
        state = "running" if answers else "not answering"
        return PartStatus(part.name, state, process.pid, address, part.memory(), uptime, str(data))

    def _airflow_names(self) -> list[str]:
        return [part.name for part in self.airflow.parts]

    def _expect(self, parts: Sequence[str]) -> None:
        """Record the parts that should run from now on."""
        write_private(self._expected_file, json.dumps(sorted({*self._expected(), *parts})))

    def _expected(self) -> list[str]:
        if not self._expected_file.exists():
            return list(SERVERS)
        names: list[str] = json.loads(self._expected_file.read_text())
        return names

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.layout.run / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise AlreadyStartingError(
                    f"process {lock.read().strip() or '?'} is starting or stopping the stack in {self.layout.home}. "
                    "Wait until it is done, then repeat the command."
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield


@contextmanager
def _timed(report: ProgressReport, name: str) -> Iterator[None]:
    report(f"{name}: starting …")
    start = time.monotonic()
    yield
    report(f"{name}: ready after {time.monotonic() - start:.1f} s")
