"""Runs Airflow with its metadata in the stack's PostgreSQL.

The parts are scheduler and web interface; Airflow 3 has a separate DAG processor.
"""

from __future__ import annotations

import configparser
import hashlib
import io
import json
import socket
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from devstack.stack.airflow_config import ADMIN, configuration, initial_state, passwords_file
from devstack.stack.connections import StackConnections
from devstack.stack.environment import for_airflow
from devstack.stack.errors import OtherVersionError, PartFailedError
from devstack.stack.files import private_folder, write_private
from devstack.stack.ports import LOOPBACK, Ports
from devstack.stack.postgres import Postgres
from devstack.stack.processes import StackPart, wait_for
from devstack.stack.secrets_file import Secrets
from install.airflow_version import AIRFLOW_2, AIRFLOW_3, AirflowVersion
from install.errors import SetupMissingError
from install.layout import Layout, tail
from offload_core.jobs import shared_jvm

SCHEDULER, DAG_PROCESSOR = "airflow-scheduler", "airflow-dag-processor"
_WEB = {AIRFLOW_2: "airflow-webserver", AIRFLOW_3: "airflow-api-server"}
_WORKERS = {AIRFLOW_2: (SCHEDULER,), AIRFLOW_3: (SCHEDULER, DAG_PROCESSOR)}
_HEALTH_NAMES = {SCHEDULER: "scheduler", DAG_PROCESSOR: "dag_processor"}
"""The names of the parts that send heartbeats, on the health page."""
_START_SECONDS = 120.0
_STOP_SECONDS = 15.0
"""How long running tasks may continue after the scheduler got its stop signal.

After that they are killed; the next scheduler runs them again.
"""


@dataclass(frozen=True)
class PartsHealth:
    """Whether the web interface answers, and which of the other running parts have sent a heartbeat recently."""

    web: bool
    alive: frozenset[str]

    def of(self, name: str) -> bool:
        """Whether the part of this name is healthy."""
        return name in self.alive if name in _HEALTH_NAMES else self.web


class Airflow:
    """The stack's Airflow, with LocalExecutor."""

    def __init__(self, layout: Layout, secrets: Secrets) -> None:
        """Create the object; nothing is started or written yet."""
        self.layout = layout
        self.home = layout.home / "airflow"
        self.password_file = self.home / "admin-password"
        self._secrets = secrets
        self._prepared_file = self.home / ".prepared"

    @property
    def version(self) -> AirflowVersion:
        """The Airflow version that the state folder was created with or upgraded to."""
        return self.layout.state_version

    @property
    def web(self) -> StackPart:
        """The web interface, with the API."""
        return StackPart(self.layout, _WEB[self.version])

    @property
    def parts(self) -> list[StackPart]:
        """All parts of this Airflow version, the web interface last."""
        return [*self._workers(), self.web]

    @property
    def port(self) -> int | None:
        """Port of the running web interface, None if it is not running."""
        return self.web.ports().get("airflow")

    def settle_version(self, *, upgrade: bool) -> None:
        """Assign the state folder to the requested Airflow version and stop running parts of the other one.

        The version is recorded before the database is migrated, so that only the new version can resume an
        interrupted upgrade.

        Args:
            upgrade: whether a folder of Airflow 2.11 may become one of Airflow 3.

        Raises:
            OtherVersionError: the folder belongs to the other version and keeps it; the message says what to do.
            SetupMissingError: the environment of the requested version does not exist.
        """
        requested = self.layout.version
        if self.version != requested and not (upgrade and (self.version, requested) == (AIRFLOW_2, AIRFLOW_3)):
            raise OtherVersionError(self._refusal())
        if not self.layout.python(requested.environment).exists():
            raise SetupMissingError(
                f"{self.layout.envs} contains no Airflow {requested.label}. Run make setup AIRFLOW={requested.number}."
            )
        if self.version != requested:
            self.stop()
        private_folder(self.home)
        write_private(self.layout.version_file, f"{requested.number}\n")

    def start(self, ports: Ports, postgres: Postgres, connections: StackConnections) -> int:
        """Migrate the database, store the connections, start the parts that are not running, and return the web port.

        Raises:
            PartFailedError: a part does not start; the message ends with its log.
        """
        running = self.port
        if running is None:
            self.web.stop()
            with ports.listen("airflow") as server:
                port = int(server.getsockname()[1])
                self._prepare(port, postgres, connections)
                self._start_web(server, port)
        else:
            port = running
            self._prepare(port, postgres, connections)
        for part in self._workers():
            if part.process() is None:
                part.stop()
                self._run(part, _command(part))
        for part in reversed(self.parts):
            self._wait_for(part)
        return port

    def stop(self) -> bool:
        """Stop all parts of either Airflow version, and every task and Spark driver that they started."""
        parts = [StackPart(self.layout, name) for name in (*_HEALTH_NAMES, *_WEB.values())]
        with ThreadPoolExecutor(max_workers=len(parts)) as pool:
            stopped = [pool.submit(part.stop, grace=_STOP_SECONDS) for part in parts]
        shared_jvm.stop_all(self.layout.spark_share)
        return any([future.result() for future in stopped])

    def health(self) -> PartsHealth:
        """Read the health of all parts from the web interface."""
        answer = _read_health_page(self.port, self.version.health_page)
        alive = {part.name for part in self._workers() if _is_alive(part, answer.get(_HEALTH_NAMES[part.name], {}))}
        return PartsHealth(web=bool(answer), alive=frozenset(alive))

    def _refusal(self) -> str:
        current, requested = self.version, self.layout.version
        start_over = "or start over in another folder (OFFLOAD_HOME=…)"
        if requested == AIRFLOW_3:
            remedy = (
                "Keep Airflow 2.11 (AIRFLOW=2), upgrade the folder with make upgrade AIRFLOW=3, which cannot be undone,"
                f" {start_over}."
            )
        else:
            remedy = f"Keep Airflow 3 (AIRFLOW=3), restore a copy of the folder from before its upgrade, {start_over}."
        return (
            f"the state folder {self.layout.home} belongs to Airflow {current.label}, not {requested.label}. {remedy}"
        )

    def _workers(self) -> list[StackPart]:
        return [StackPart(self.layout, name) for name in _WORKERS[self.version]]

    def _start_web(self, server: socket.socket, port: int) -> None:
        """Start the web interface as Airflow's own command does, but on a socket that is already listening."""
        if self.version is AIRFLOW_2:
            # Gunicorn is started directly, without the monitor of `airflow webserver`. The filter hides a warning about
            # a name that Airflow still uses and its own login manager has renamed.
            arguments = ["-W", "ignore:is_authorized_dataset", "-m", "gunicorn", "--preload"]
            arguments += ["--bind", f"fd://{server.fileno()}", "--name", "airflow-webserver"]
            # Browsers open connections ahead of time; an idle one would block a worker without threads.
            arguments += ["--workers", "1", "--worker-class", "gthread", "--threads", "4", "--timeout", "120"]
            arguments += ["--config", "python:airflow.www.gunicorn_config", "airflow.www.app:cached_app()"]
        else:
            # No access log: Airflow logs requests itself.
            arguments = ["-m", "uvicorn", "--fd", str(server.fileno()), "--no-access-log", "--no-proxy-headers"]
            arguments += [
                "--timeout-keep-alive",
                "120",
                "--timeout-graceful-shutdown",
                "5",
                "airflow.api_fastapi.main:app",
            ]
        self._run(self.web, arguments, ports={"airflow": port}, descriptors=[server.fileno()])

    def _run(
        self,
        part: StackPart,
        arguments: Sequence[str],
        *,
        ports: Mapping[str, int] | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        command = [str(self.layout.airflow_python), *arguments]
        part.start(command, environ=for_airflow(self.layout), cwd=self.home, ports=ports, descriptors=descriptors)

    def _prepare(self, port: int, postgres: Postgres, connections: StackConnections) -> None:
        self._write_configuration(port, connections)
        self._prepare_database(postgres, connections)

    def _write_configuration(self, port: int, connections: StackConnections) -> None:
        """Write `airflow.cfg`. The database password is in that file, so that it is in no process's environment."""
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_dict(configuration(self.layout, self._secrets, connections["postgres"]["port"], port))
        text = io.StringIO()
        text.write("# Written by `make up` at every start; changes to this file are lost.\n")
        parser.write(text)
        write_private(self.home / "airflow.cfg", text.getvalue())
        write_private(self.password_file, f"{self._secrets.airflow_admin}\n")
        if self.version is AIRFLOW_3:
            # If the password were missing, Airflow would generate one and print it to its log.
            write_private(passwords_file(self.layout), json.dumps({ADMIN: self._secrets.airflow_admin}))

    def _prepare_database(self, postgres: Postgres, connections: StackConnections) -> None:
        """Migrate the database and store connections, pool and login, unless the same has been done before.

        Changes made in the web interface since then stay.
        """
        initial = initial_state(self.layout, self._secrets, connections)
        lock = (self.layout.checkout / self.version.locks[0]).read_bytes()
        key = hashlib.sha256(json.dumps(initial, sort_keys=True).encode() + lock).hexdigest()
        if (
            self._prepared_file.exists()
            and self._prepared_file.read_text() == f"{key} {postgres.revision_of_airflow()}"
        ):
            return
        log = self.layout.logs / "airflow-setup.log"
        with log.open("w") as output:
            # Through a pipe, so that the passwords are on no command line and in no file.
            result = subprocess.run(
                [str(self.layout.airflow_python), "-m", "offload_airflow.setup"],
                check=False,
                input=json.dumps(initial),
                stdout=output,
                stderr=output,
                text=True,
                cwd=self.home,
                env={**for_airflow(self.layout), "PYTHONPATH": str(self.layout.checkout / "plugins")},
            )
        if result.returncode:
            raise PartFailedError(
                f"Airflow's database could not be prepared. Fix the cause that {log} names, then run make up again.\n"
                f"{tail(log)}"
            )
        write_private(self._prepared_file, f"{key} {postgres.revision_of_airflow()}")

    def _wait_for(self, part: StackPart) -> None:
        process = part.process()
        if process is None or not any(self.health().of(part.name) for _ in wait_for(process, _START_SECONDS)):
            raise PartFailedError(
                f"{part.name} does not start. Fix the cause that its log {part.log} names, then run make up again.\n"
                f"{tail(part.log)}"
            )


def _command(part: StackPart) -> list[str]:
    return ["-m", "airflow", *(["scheduler", "--skip-serve-logs"] if part.name == SCHEDULER else ["dag-processor"])]


def _is_alive(part: StackPart, answer: Mapping[str, str | None]) -> bool:
    """Whether the process that runs now has sent a heartbeat.

    The start time matters, because the health page counts the last heartbeat of a dead process for half a minute.
    """
    process = part.process()
    heartbeat = answer.get(f"latest_{_HEALTH_NAMES[part.name]}_heartbeat")
    if process is None or heartbeat is None:
        return False
    return answer["status"] == "healthy" and datetime.fromisoformat(heartbeat).timestamp() >= process.create_time()


def _read_health_page(port: int | None, path: str) -> dict[str, dict[str, str | None]]:
    """The content of the web interface's health page; empty if it does not answer."""
    if port is None:
        return {}
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}{path}", timeout=5) as response:
            answer: dict[str, dict[str, str | None]] = json.load(response)
    except (OSError, ValueError):
        return {}
    return answer
