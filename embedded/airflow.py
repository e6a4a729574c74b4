"""Runs Airflow's scheduler and webserver with their metadata in the stack's PostgreSQL."""

from __future__ import annotations

import configparser
import hashlib
import io
import json
import os
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict
from urllib.parse import quote

from embedded.connections import Connections
from embedded.environment import for_airflow
from embedded.errors import PartFailedError, SetupMissingError
from embedded.files import private_folder, write_private
from embedded.layout import Layout, tail
from embedded.ports import LOOPBACK, Ports
from embedded.postgres import Postgres
from embedded.processes import Part, wait_for
from embedded.secrets_file import Secrets
from offload_core import shared_spark

ADMIN = "admin"
POOL, POOL_SLOTS = "iceberg_offload", 2
_START_SECONDS = 120.0
_STOP_SECONDS = 15.0
"""How long running tasks may go on when the scheduler is told to stop; after that they are killed and run again."""


@dataclass(frozen=True)
class Health:
    """Whether the web interface answers, and whether the scheduler that runs now has beaten its heart lately."""

    webserver: bool
    scheduler: bool


class _Wanted(TypedDict):
    connections: dict[str, dict[str, object]]
    pools: dict[str, int]
    admin: dict[str, str]


class Airflow:
    """Scheduler (with LocalExecutor) and webserver of the stack."""

    def __init__(self, layout: Layout, secrets: Secrets) -> None:
        """Nothing is started or written yet."""
        self.layout = layout
        self.home = layout.home / "airflow"
        self.scheduler = Part(layout, "airflow-scheduler")
        self.webserver = Part(layout, "airflow-webserver")
        self.password_file = self.home / "admin-password"
        self._secrets = secrets
        self._prepared_file = self.home / ".prepared"

    @property
    def port(self) -> int | None:
        """Port of the running web interface, None when it isn't running."""
        return self.webserver.ports().get("airflow")

    def start(self, ports: Ports, postgres: Postgres, connections: Connections) -> int:
        """Start what does not run yet, with its database migrated and its connections stored; return the web port.

        Raises:
            SetupMissingError: the Airflow environment is not there.
            PartFailedError: one of the two does not start; the message ends with its log.
        """
        if not self.layout.python("airflow").exists():
            raise SetupMissingError(f"there is no Airflow in {self.layout.envs}. Run make setup.")
        running = self.port
        if running is None:
            self.webserver.stop()
            with ports.listen("airflow") as server:
                port = int(server.getsockname()[1])
                self._make_ready(port, postgres, connections)
                self._start_webserver(server, port)
        else:
            port = running
            self._make_ready(port, postgres, connections)
        if self.scheduler.process() is None:
            self.scheduler.stop()
            self._run(self.scheduler, ["airflow", "scheduler", "--skip-serve-logs"])
        self._wait_for(self.webserver, lambda: self.health().webserver)
        self._wait_for(self.scheduler, lambda: self.health().scheduler)
        return port

    def stop(self) -> bool:
        """End both, and every task and Spark driver they started."""
        with ThreadPoolExecutor(max_workers=2) as pool:
            stopped = [pool.submit(part.stop, grace=_STOP_SECONDS) for part in (self.scheduler, self.webserver)]
        shared_spark.stop_all(self.layout.spark_share)
        return any([future.result() for future in stopped])

    def health(self) -> Health:
        """Ask the web interface how both are."""
        answer = _ask(self.port)
        scheduler = self.scheduler.process()
        heartbeat = answer.get("scheduler", {}).get("latest_scheduler_heartbeat")
        if scheduler is None or heartbeat is None:
            return Health(webserver=bool(answer), scheduler=False)
        # The web interface also counts the last heartbeat of a scheduler that is dead for half a minute.
        is_its_own = datetime.fromisoformat(heartbeat).timestamp() >= scheduler.create_time()
        return Health(webserver=True, scheduler=is_its_own and answer["scheduler"]["status"] == "healthy")

    def _start_webserver(self, server: socket.socket, port: int) -> None:
        """Start gunicorn as `airflow webserver` does, but on a socket of ours and without that command's monitor."""
        module = ["gunicorn", "--bind", f"fd://{server.fileno()}", "--name", "airflow-webserver", "--preload"]
        # Threads: browsers open connections ahead of time, and one that says nothing would keep a plain worker from all others.
        module += ["--workers", "1", "--worker-class", "gthread", "--threads", "4", "--timeout", "120"]
        module += ["--config", "python:airflow.www.gunicorn_config"]
        module.append("airflow.www.app:cached_app()")
        self._run(self.webserver, module, ports={"airflow": port}, descriptors=[server.fileno()])

    def _run(
        self,
        part: Part,
        module: Sequence[str],
        *,
        ports: Mapping[str, int] | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        command = [str(self.layout.python("airflow")), "-m", *module]
        part.start(command, environ=for_airflow(self.layout), cwd=self.home, ports=ports, descriptors=descriptors)

    def _make_ready(self, port: int, postgres: Postgres, connections: Connections) -> None:
        self._configure(port, connections)
        self._prepare(postgres, connections)

    def _configure(self, port: int, connections: Connections) -> None:
        """Write `airflow.cfg`; it holds the database's password, which therefore stands in no process's environment."""
        private_folder(self.home)
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_dict(_configuration(self.layout, self._secrets, connections["postgres"]["port"], port))
        text = io.StringIO()
        text.write("# Written by `make up` at every start; changes made here are lost.\n")
        parser.write(text)
        write_private(self.home / "airflow.cfg", text.getvalue())
        write_private(self.password_file, f"{self._secrets.airflow_admin}\n")

    def _prepare(self, postgres: Postgres, connections: Connections) -> None:
        """Migrate the database and store connections, pool and login, unless the same was done before.

        What somebody changed in the web interface since then stays.
        """
        wanted = _wanted(self._secrets, connections)
        lock = (self.layout.checkout / "requirements.lock.txt").read_bytes()
        key = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode() + lock).hexdigest()
        if (
            self._prepared_file.exists()
            and self._prepared_file.read_text() == f"{key} {postgres.revision_of_airflow()}"
        ):
            return
        log = self.layout.logs / "airflow-setup.log"
        with log.open("w") as output:
            # Over a pipe: neither the command line nor a file shows the passwords.
            result = subprocess.run(
                [str(self.layout.python("airflow")), "-m", "embedded.airflow_setup"],
                check=False,
                input=json.dumps(wanted),
                stdout=output,
                stderr=output,
                text=True,
                cwd=self.home,
                env={**for_airflow(self.layout), "PYTHONPATH": str(self.layout.checkout)},
            )
        if result.returncode:
            raise PartFailedError(
                f"Airflow's database could not be prepared. Mend what {log} says, then run make up again.\n{tail(log)}"
            )
        write_private(self._prepared_file, f"{key} {postgres.revision_of_airflow()}")

    def _wait_for(self, part: Part, is_ready: Callable[[], bool]) -> None:
        process = part.process()
        if process is None or not any(is_ready() for _ in wait_for(process, _START_SECONDS)):
            raise PartFailedError(
                f"{part.name} does not start. Mend what its log {part.log} says, then run make up again.\n{tail(part.log)}"
            )


def _ask(port: int | None) -> dict[str, dict[str, str | None]]:
    """The answer of the web interface's health page; empty when it is silent."""
    if port is None:
        return {}
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/health", timeout=5) as response:
            answer: dict[str, dict[str, str | None]] = json.load(response)
    except (OSError, ValueError):
        return {}
    return answer


def _mail(server: str | None) -> dict[str, str]:
    """Where Airflow's mails go, `host:port` without login or TLS: a mail catcher. None: to port 25 of this machine, as Airflow does."""
    host, _, port = (server or "").partition(":")
    sender = {"smtp_mail_from": "iceberg-offload@example.com"}
    if not host:
        return sender
    return {**sender, "smtp_host": host, "smtp_port": port or "25", "smtp_starttls": "False", "smtp_ssl": "False"}


def _configuration(layout: Layout, secrets: Secrets, postgres_port: int, web_port: int) -> dict[str, dict[str, str]]:
    home = layout.home / "airflow"
    logs = layout.logs / "airflow"
    database = f"postgresql+psycopg2://airflow:{quote(secrets.postgres_airflow)}@{LOOPBACK}:{postgres_port}/airflow"
    return {
        "core": {
            "dags_folder": str(layout.checkout / "dags"),
            "plugins_folder": str(layout.checkout / "plugins"),
            "executor": "LocalExecutor",
            "parallelism": "8",
            "load_examples": "False",
            "default_timezone": "utc",
            "fernet_key": secrets.airflow_fernet,
        },
        "database": {"sql_alchemy_conn": database, "load_default_connections": "False"},
        "logging": {
            "base_log_folder": str(logs),
            "dag_processor_manager_log_location": str(logs / "dag_processor_manager.log"),
        },
        "scheduler": {
            # The default of 1 s makes most of a short cycle: seven steps, one idle sleep each. At 0.1 s the loop takes a sixth of a core.
            "scheduler_idle_sleep_time": "0.3",
            # Edits of DAG files and of the Variables they read show within half a minute.
            "dag_dir_list_interval": "10",
            "min_file_process_interval": "20",
            "parsing_processes": "1",
            "child_process_log_directory": str(logs / "scheduler"),
        },
        # Parsing reads two Variables; an edit in the web interface shows after ten seconds all the same.
        "secrets": {"use_cache": "True", "cache_ttl_seconds": "10"},
        "webserver": {
            "web_server_host": LOOPBACK,
            "web_server_port": str(web_port),
            "base_url": f"http://{LOOPBACK}:{web_port}",
            "secret_key": secrets.airflow_web,
            "config_file": str(home / "webserver_config.py"),
            "expose_config": "False",
        },
        "api": {"auth_backends": "airflow.api.auth.backend.basic_auth,airflow.api.auth.backend.session"},
        "usage_data_collection": {"enabled": "False"},
        "smtp": _mail(os.environ.get("OFFLOAD_MAIL_SERVER")),
        # As in Airflow 3; without it every command warns that it will change.
        "metrics": {"timer_unit_consistency": "True"},
    }


def _wanted(secrets: Secrets, connections: Connections) -> _Wanted:
    clickhouse, postgres, iceberg = connections["clickhouse"], connections["postgres"], connections["iceberg"]
    hot = {"host": clickhouse["host"], "login": clickhouse["user"], "password": clickhouse["password"]}
    return {
        "connections": {
            # The type the plugin's manual asks for: it has none of its own, and the form needs one that it knows.
            "clickhouse_default": {
                **hot,
                "conn_type": "sqlite",
                "port": clickhouse["native_port"],
                "schema": clickhouse["database"],
                "description": "Hot tier, native protocol (airflow-clickhouse-plugin)",
            },
            "clickhouse_http": {
                **hot,
                "conn_type": "http",
                "port": clickhouse["http_port"],
                "schema": "http",
                "extra": json.dumps({"database": clickhouse["database"]}),
                "description": "Hot tier, HTTP",
            },
            "postgres_default": {
                "conn_type": "postgres",
                "host": postgres["host"],
                "port": postgres["port"],
                "login": postgres["user"],
                "password": postgres["password"],
                "schema": postgres["database"],
                "description": "Ledger",
            },
            "spark_default": {
                "conn_type": "spark",
                "host": "local[*]",
                "extra": json.dumps({"deploy-mode": "client"}),
                "description": "Where Spark runs",
            },
            "iceberg_default": {
                "conn_type": "generic",
                "host": iceberg["uri"],
                "login": iceberg["user"],
                "password": iceberg["password"],
                "extra": json.dumps({name: iceberg[name] for name in ("name", "type", "warehouse", "properties")}),
                "description": "Cold tier: the Iceberg catalog (host: its URI)",
            },
        },
        "pools": {POOL: POOL_SLOTS},
        "admin": {"username": ADMIN, "password": secrets.airflow_admin},
    }
