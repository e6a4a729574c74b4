"""Runs Airflow with its metadata in the stack's PostgreSQL: scheduler and web interface, and on Airflow 3 the DAG processor."""

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

from devstack.stack.airflow_config import ADMIN, configuration, passwords_file, wanted
from devstack.stack.connections import Connections
from devstack.stack.environment import for_airflow
from devstack.stack.errors import OtherLineError, PartFailedError
from devstack.stack.files import private_folder, write_private
from devstack.stack.ports import LOOPBACK, Ports
from devstack.stack.postgres import Postgres
from devstack.stack.processes import Part, wait_for
from devstack.stack.secrets_file import Secrets
from install.airflow_version import AIRFLOW_2, AIRFLOW_3, Line
from install.errors import SetupMissingError
from install.layout import Layout, tail
from offload_core.jobs import shared_jvm

SCHEDULER, DAG_PROCESSOR = "airflow-scheduler", "airflow-dag-processor"
_WEB = {AIRFLOW_2: "airflow-webserver", AIRFLOW_3: "airflow-api-server"}
_WORKERS = {AIRFLOW_2: (SCHEDULER,), AIRFLOW_3: (SCHEDULER, DAG_PROCESSOR)}
_ANSWERS = {SCHEDULER: "scheduler", DAG_PROCESSOR: "dag_processor"}
"""What the health page calls the parts that beat a heart."""
_START_SECONDS = 120.0
_STOP_SECONDS = 15.0
"""How long running tasks may go on when the scheduler is told to stop; after that they are killed and run again."""


@dataclass(frozen=True)
class Health:
    """Whether the web interface answers, and which of the other parts that run now have beaten their hearts lately."""

    web: bool
    alive: frozenset[str]

    def of(self, name: str) -> bool:
        """Whether a part is well."""
        return name in self.alive if name in _ANSWERS else self.web


class Airflow:
    """The Airflow of the stack, with LocalExecutor."""

    def __init__(self, layout: Layout, secrets: Secrets) -> None:
        """Nothing is started or written yet."""
        self.layout = layout
        self.home = layout.home / "airflow"
        self.password_file = self.home / "admin-password"
        self._secrets = secrets
        self._prepared_file = self.home / ".prepared"

    @property
    def line(self) -> Line:
        """The line that the state folder was made by or upgraded to."""
        return self.layout.state_line

    @property
    def web(self) -> Part:
        """The web interface, with the API."""
        return Part(self.layout, _WEB[self.line])

    @property
    def parts(self) -> list[Part]:
        """All parts of the line, the web interface last."""
        return [*self._workers(), self.web]

    @property
    def port(self) -> int | None:
        """Port of the running web interface, None when it isn't running."""
        return self.web.ports().get("airflow")

    def settle_line(self, *, upgrade: bool) -> None:
        """Make the state folder one of the line that is asked for; what runs of the other one is ended.

        It is written down before the database becomes that line's: an upgrade that breaks off is taken up again, and by that line only.

        Args:
            upgrade: whether a folder of 2.11 may become one of Airflow 3.

        Raises:
            OtherLineError: it is of the other one, and stays so; the message says what to do.
            SetupMissingError: the line's environment is not there.
        """
        asked = self.layout.line
        if self.line != asked and not (upgrade and (self.line, asked) == (AIRFLOW_2, AIRFLOW_3)):
            raise OtherLineError(self._refusal())
        if not self.layout.python(asked.environment).exists():
            raise SetupMissingError(
                f"there is no Airflow {asked.version} in {self.layout.envs}. Run make setup AIRFLOW={asked.number}."
            )
        if self.line != asked:
            self.stop()
        private_folder(self.home)
        write_private(self.layout.line_file, f"{asked.number}\n")

    def start(self, ports: Ports, postgres: Postgres, connections: Connections) -> int:
        """Start what does not run yet, with its database migrated and its connections stored; return the web port.

        Raises:
            PartFailedError: a part does not start; the message ends with its log.
        """
        running = self.port
        if running is None:
            self.web.stop()
            with ports.listen("airflow") as server:
                port = int(server.getsockname()[1])
                self._make_ready(port, postgres, connections)
                self._start_web(server, port)
        else:
            port = running
            self._make_ready(port, postgres, connections)
        for part in self._workers():
            if part.process() is None:
                part.stop()
                self._run(part, _command(part))
        for part in reversed(self.parts):
            self._wait_for(part)
        return port

    def stop(self) -> bool:
        """End all parts, of either line, and every task and Spark driver they started."""
        parts = [Part(self.layout, name) for name in (*_ANSWERS, *_WEB.values())]
        with ThreadPoolExecutor(max_workers=len(parts)) as pool:
            stopped = [pool.submit(part.stop, grace=_STOP_SECONDS) for part in parts]
        shared_jvm.stop_all(self.layout.spark_share)
        return any([future.result() for future in stopped])

    def health(self) -> Health:
        """Ask the web interface how all parts are."""
        answer = _ask(self.port, self.line.health_page)
        alive = {part.name for part in self._workers() if _is_its_own(part, answer.get(_ANSWERS[part.name], {}))}
        return Health(web=bool(answer), alive=frozenset(alive))

    def _refusal(self) -> str:
        there, asked = self.line, self.layout.line
        afresh = "or start afresh in another folder (OFFLOAD_HOME=…)"
        if asked == AIRFLOW_3:
            remedy = f"Stay with it (AIRFLOW=2), move it to Airflow 3 by make upgrade AIRFLOW=3, from which no way leads back, {afresh}."
        else:
            remedy = f"Stay with it (AIRFLOW=3), restore a copy of the folder from before its upgrade, {afresh}."
        return f"the state folder {self.layout.home} belongs to Airflow {there.version}, not {asked.version}. {remedy}"

    def _workers(self) -> list[Part]:
        return [Part(self.layout, name) for name in _WORKERS[self.line]]

    def _start_web(self, server: socket.socket, port: int) -> None:
        """Start the web interface as Airflow's own command does, but on a socket of ours."""
        if self.line is AIRFLOW_2:
            # Airflow asks its own login manager by a name that this has renamed. Without `airflow webserver`'s monitor.
            words = ["-W", "ignore:is_authorized_dataset", "-m", "gunicorn", "--preload"]
            words += ["--bind", f"fd://{server.fileno()}", "--name", "airflow-webserver"]
            # Threads: browsers open connections ahead of time, and one that says nothing would keep a plain worker from all others.
            words += ["--workers", "1", "--worker-class", "gthread", "--threads", "4", "--timeout", "120"]
            words += ["--config", "python:airflow.www.gunicorn_config", "airflow.www.app:cached_app()"]
        else:
            # Airflow logs who asked for what itself.
            words = ["-m", "uvicorn", "--fd", str(server.fileno()), "--no-access-log", "--no-proxy-headers"]
            words += ["--timeout-keep-alive", "120", "--timeout-graceful-shutdown", "5", "airflow.api_fastapi.main:app"]
        self._run(self.web, words, ports={"airflow": port}, descriptors=[server.fileno()])

    def _run(
        self,
        part: Part,
        words: Sequence[str],
        *,
        ports: Mapping[str, int] | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        command = [str(self.layout.airflow_python), *words]
        part.start(command, environ=for_airflow(self.layout), cwd=self.home, ports=ports, descriptors=descriptors)

    def _make_ready(self, port: int, postgres: Postgres, connections: Connections) -> None:
        self._configure(port, connections)
        self._prepare(postgres, connections)

    def _configure(self, port: int, connections: Connections) -> None:
        """Write `airflow.cfg`; it holds the database's password, which therefore stands in no process's environment."""
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_dict(configuration(self.layout, self._secrets, connections["postgres"]["port"], port))
        text = io.StringIO()
        text.write("# Written by `make up` at every start; changes made here are lost.\n")
        parser.write(text)
        write_private(self.home / "airflow.cfg", text.getvalue())
        write_private(self.password_file, f"{self._secrets.airflow_admin}\n")
        if self.line is AIRFLOW_3:
            # Airflow would make up a password that is missing here, and print it into its log.
            write_private(passwords_file(self.layout), json.dumps({ADMIN: self._secrets.airflow_admin}))

    def _prepare(self, postgres: Postgres, connections: Connections) -> None:
        """Migrate the database and store connections, pool and login, unless the same was done before.

        What somebody changed in the web interface since then stays.
        """
        first = wanted(self.layout, self._secrets, connections)
        lock = (self.layout.checkout / self.line.locks[0]).read_bytes()
        key = hashlib.sha256(json.dumps(first, sort_keys=True).encode() + lock).hexdigest()
        if (
            self._prepared_file.exists()
            and self._prepared_file.read_text() == f"{key} {postgres.revision_of_airflow()}"
        ):
            return
        log = self.layout.logs / "airflow-setup.log"
        with log.open("w") as output:
            # Over a pipe: neither the command line nor a file shows the passwords.
            result = subprocess.run(
                [str(self.layout.airflow_python), "-m", "offload_airflow.setup"],
                check=False,
                input=json.dumps(first),
                stdout=output,
                stderr=output,
                text=True,
                cwd=self.home,
                env={**for_airflow(self.layout), "PYTHONPATH": str(self.layout.checkout / "plugins")},
            )
        if result.returncode:
            raise PartFailedError(
                f"Airflow's database could not be prepared. Mend what {log} says, then run make up again.\n{tail(log)}"
            )
        write_private(self._prepared_file, f"{key} {postgres.revision_of_airflow()}")

    def _wait_for(self, part: Part) -> None:
        process = part.process()
        if process is None or not any(self.health().of(part.name) for _ in wait_for(process, _START_SECONDS)):
            raise PartFailedError(
                f"{part.name} does not start. Mend what its log {part.log} says, then run make up again.\n{tail(part.log)}"
            )


def _command(part: Part) -> list[str]:
    return ["-m", "airflow", *(["scheduler", "--skip-serve-logs"] if part.name == SCHEDULER else ["dag-processor"])]


def _is_its_own(part: Part, answer: Mapping[str, str | None]) -> bool:
    """Whether a part that is called healthy is the one that runs now: the page counts a dead one's heartbeat for half a minute."""
    process = part.process()
    heartbeat = answer.get(f"latest_{_ANSWERS[part.name]}_heartbeat")
    if process is None or heartbeat is None:
        return False
    return answer["status"] == "healthy" and datetime.fromisoformat(heartbeat).timestamp() >= process.create_time()


def _ask(port: int | None, path: str) -> dict[str, dict[str, str | None]]:
    """The answer of the web interface's health page; empty when it is silent."""
    if port is None:
        return {}
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}{path}", timeout=5) as response:
            answer: dict[str, dict[str, str | None]] = json.load(response)
    except (OSError, ValueError):
        return {}
    return answer
