"""Starts, ends and describes the whole stack of one state folder."""

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
from devstack.stack.connections import Connections, describe, store
from devstack.stack.errors import AlreadyStartingError, PartFailedError
from devstack.stack.exporter import Exporter
from devstack.stack.files import private_folder, write_private
from devstack.stack.gateway import Gateway
from devstack.stack.ports import LOOPBACK, Ports
from devstack.stack.postgres import Postgres
from devstack.stack.processes import Part
from devstack.stack.secrets_file import Secrets
from install.layout import Layout

SERVERS = ("postgres", "clickhouse")
EXPORTER = "exporter"
"""What watches Airflow's parts."""

Report = Callable[[str], None]
"""Takes one line of progress for a person."""


@dataclass(frozen=True)
class PartStatus:
    """One line of `status`. `memory` is in bytes, `uptime` in seconds."""

    name: str
    state: str
    pid: int | None
    address: str
    memory: int
    uptime: float | None
    data: str

    @property
    def is_up(self) -> bool:
        """True when the part runs and answers."""
        return self.state == "running"


class Stack:
    """PostgreSQL, ClickHouse and, if wanted, Airflow and the metrics exporter, with all their state under one folder."""

    def __init__(self, layout: Layout) -> None:
        """Makes the state folder and its secrets if they are not there yet; starts nothing."""
        layout.home.mkdir(parents=True, exist_ok=True)
        # Others may pass through: started by root, PostgreSQL runs as somebody else. Every folder in it is closed.
        layout.home.chmod(0o711)
        for folder in (layout.run, layout.logs, layout.home / "warehouse"):
            private_folder(folder)
        self.layout = layout
        self.secrets = Secrets.of_home(layout.home)
        self.postgres = Postgres(layout, self.secrets)
        self.gateway = Gateway(layout, self.secrets)
        self.airflow = Airflow(layout, self.secrets)
        self.exporter = Exporter(layout)
        self._wanted_file = layout.run / "wanted.json"

    def up(self, report: Report, *, airflow: bool, upgrade: bool = False) -> Connections:
        """Start what does not run yet and return the connections. Repeating it repairs what died in between.

        Args:
            report: takes the progress.
            airflow: Airflow and the exporter too.
            upgrade: whether an Airflow of 2.11 may become one of Airflow 3, whose parts are stopped first.

        Raises:
            AlreadyStartingError: another command is at work on the same state folder.
            OtherLineError: the state folder belongs to the other line of Airflow.
            PartFailedError: a part does not start; the message says where its log is.
        """
        with self._alone():
            if airflow:
                self.airflow.settle_line(upgrade=upgrade)
            self._want([*SERVERS, *((*self._airflow_names(), EXPORTER) if airflow else ())])
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
                self._watch(report, ports, postgres=postgres_port, airflow=airflow_port)
            return connections

    def _watch(self, report: Report, ports: Ports, *, postgres: int, airflow: int) -> None:
        """Start the exporter; the offload needs none, so that one which does not start is told and stops nothing (R75)."""
        try:
            with _timed(report, "Exporter"):
                self.exporter.start(ports, postgres=postgres, airflow=airflow)
        except PartFailedError as error:
            report(f"Exporter: {error}")

    def down(self, report: Report) -> None:
        """End every process of the stack and wait until all are gone; the data stays.

        Raises:
            AlreadyStartingError: another command is at work on the same state folder.
            PartStuckError: a process does not end.
        """
        with self._alone():
            for name, stop in (
                ("Exporter", self.exporter.stop),
                ("Airflow", self.airflow.stop),
                ("ClickHouse", self.gateway.stop),
                ("PostgreSQL", self.postgres.stop),
            ):
                start = time.monotonic()
                if stop():
                    report(f"{name} stopped after {time.monotonic() - start:.1f} s")
            self._wanted_file.unlink(missing_ok=True)

    def status(self) -> list[PartStatus]:
        """The parts that were wanted by the last `up`; those of the servers always."""
        wanted = self._wanted()
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
        return [row for row in rows if row.name in wanted]

    def _row(self, part: Part, answers: bool, address: str, data: Path) -> PartStatus:
        process = part.process()
        if process is None:
            state = "died" if part.record() else "stopped"
            return PartStatus(part.name, state, None, "-", 0, None, str(data))
        uptime = time.time() - process.create_time()
        state = "running" if answers else "not answering"
        return PartStatus(part.name, state, process.pid, address, part.memory(), uptime, str(data))

    def _airflow_names(self) -> list[str]:
        return [part.name for part in self.airflow.parts]

    def _want(self, parts: Sequence[str]) -> None:
        write_private(self._wanted_file, json.dumps(sorted({*self._wanted(), *parts})))

    def _wanted(self) -> list[str]:
        if not self._wanted_file.exists():
            return list(SERVERS)
        wanted: list[str] = json.loads(self._wanted_file.read_text())
        return wanted

    @contextmanager
    def _alone(self) -> Iterator[None]:
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
def _timed(report: Report, name: str) -> Iterator[None]:
    report(f"{name}: starting …")
    start = time.monotonic()
    yield
    report(f"{name}: ready after {time.monotonic() - start:.1f} s")
