"""Runs the ClickHouse server of the stack (`devstack.clickhouse_server`)."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.parse
import urllib.request

import psutil

from devstack.stack.connections import DATABASE, USER
from devstack.stack.environment import for_servers
from devstack.stack.errors import NotRunningError, PartFailedError, StatementRefusedError
from devstack.stack.files import private_folder, write_private
from devstack.stack.ports import LOOPBACK, Ports, is_free
from devstack.stack.processes import StackPart, wait_for
from devstack.stack.secrets_file import Secrets
from install.layout import Layout, tail

_START_SECONDS = 120.0
_QUERY_SECONDS = 600.0
_DEFAULT_MEMORY_BYTES = 4 << 30


class Gateway:
    """The stack's ClickHouse."""

    def __init__(self, layout: Layout, secrets: Secrets) -> None:
        """Create the object; nothing is started or written yet."""
        self.part = StackPart(layout, "clickhouse")
        self.data = layout.home / "clickhouse"
        self._password = secrets.clickhouse
        self._password_file = layout.run / "clickhouse.password"
        self._ready_file = layout.run / "clickhouse.ready"

    @property
    def ports(self) -> tuple[int, int] | None:
        """HTTP and native port of the running server, None if it is not running."""
        ports = self.part.ports()
        return (ports["http"], ports["native"]) if ports else None

    def start(self, ports: Ports) -> tuple[int, int]:
        """Start the server unless it is running, and return its HTTP and native port.

        Raises:
            PartFailedError: the server does not start; the message ends with its log.
        """
        running = self.ports
        if running:
            return running
        self.part.stop()
        private_folder(self.data)
        write_private(self._password_file, self._password)
        for _ in range(3):
            chosen = ports.choose("clickhouse_http"), ports.choose("clickhouse_native")
            if self._came_up(self._launch(*chosen)):
                return chosen
            if all(is_free(port) for port in chosen):
                break
            # Another program took a port between the choice and the start: choose again.
        self.part.stop()
        raise PartFailedError(
            f"ClickHouse does not start. Fix the cause that its log {self.part.log} names, then run make up again.\n"
            f"{tail(self.part.log)}"
        )

    def stop(self) -> bool:
        """Stop the server; acknowledged rows are on disk. Return whether it was running."""
        return self.part.stop(grace=30.0)

    def answers(self) -> bool:
        """Whether the server answers on its HTTP port."""
        ports = self.ports
        if ports is None:
            return False
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{ports[0]}/ping", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def query(self, statement: str) -> str:
        """Run a statement and return its result as a formatted table.

        Raises:
            NotRunningError: the server does not answer.
            StatementRefusedError: the server refuses the statement; the message is ClickHouse's.
        """
        ports = self.ports
        if ports is None:
            raise NotRunningError("ClickHouse is not running. Start it with make up.")
        options = urllib.parse.urlencode({"database": DATABASE, "default_format": "PrettyCompactMonoBlock"})
        request = urllib.request.Request(
            f"http://{LOOPBACK}:{ports[0]}/?{options}",
            statement.encode(),
            {"X-ClickHouse-User": USER, "X-ClickHouse-Key": self._password},
        )
        try:
            with urllib.request.urlopen(request, timeout=_QUERY_SECONDS) as response:  # noqa: S310 - loopback http
                answer: bytes = response.read()
        except urllib.error.HTTPError as error:
            raise StatementRefusedError(error.read().decode(errors="replace").strip()) from error
        except OSError as error:
            raise NotRunningError(f"ClickHouse does not answer: {error}. See make status.") from error
        return answer.decode()

    def _launch(self, http: int, native: int) -> psutil.Process:
        self._ready_file.unlink(missing_ok=True)
        options = {
            "path": self.data,
            "http-port": http,
            "native-port": native,
            "user": USER,
            "password-file": self._password_file,
            "database": DATABASE,
            "max-memory": os.environ.get("OFFLOAD_CLICKHOUSE_MEMORY") or _DEFAULT_MEMORY_BYTES,
            "ready-file": self._ready_file,
        }
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        ports = {"http": http, "native": native}
        command = [sys.executable, "-m", "devstack.clickhouse_server", *arguments]
        # The engine reads only files below its working directory. In this one, it can read only the Iceberg tables.
        cwd = self.part.layout.home / "warehouse"
        return self.part.start(command, environ=for_servers(self.part.layout), cwd=cwd, ports=ports)

    def _came_up(self, process: psutil.Process) -> bool:
        return any(self._ready_file.exists() for _ in wait_for(process, _START_SECONDS))
