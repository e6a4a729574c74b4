"""Starts and stops the ClickHouse server of `devstack.clickhouse_server` for tests.

from tests.support.stack.gateway import Gateway, running

with running(tmp_path / "clickhouse") as gateway:
    gateway.connect().query("SELECT 1")
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import clickhouse_connect
import clickhouse_driver
import psutil
from clickhouse_connect.driver.client import Client

from tests.support.checkout import CHECKOUT

USER, PASSWORD, DATABASE = "offload", "a password, ünïcode & 'quotes'", "k2"
_START_SECONDS = 60
_STOP_SECONDS = 20


def devstack_python() -> str:
    """Return the Python with the engine: OFFLOAD_DEVSTACK_PYTHON, or the one of the devstack environment."""
    environments = Path(os.environ.get("OFFLOAD_ENVS") or CHECKOUT / ".venv")
    return os.environ.get("OFFLOAD_DEVSTACK_PYTHON") or str(environments / "devstack" / "bin" / "python")


@dataclass(frozen=True)
class Answer:
    """An HTTP response, read to its end."""

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Gateway:
    """A server process on free ports of 127.0.0.1."""

    path: Path
    max_memory: int = 2 << 30
    process: subprocess.Popen[bytes] | None = None
    http_port: int = 0
    native_port: int = 0
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.path.with_name(self.path.name + ".log")

    def launch(self, http_port: int = 0, native_port: int = 0, **environ: str) -> subprocess.Popen[bytes]:
        """Start the process and return without waiting for it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        password = self.path.with_name(self.path.name + ".password")
        password.write_text(PASSWORD)
        options = {
            "path": self.path,
            "http-port": http_port,
            "native-port": native_port,
            "user": USER,
            "password-file": password,
            "database": DATABASE,
            "max-memory": self.max_memory,
            "ready-file": self.ready_file,
        }
        command = [devstack_python(), "-m", "devstack.clickhouse_server"]
        command += [text for name, value in options.items() for text in (f"--{name}", str(value))]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, cwd=CHECKOUT, stdout=log, stderr=log, env={**os.environ, **environ})

    @property
    def ready_file(self) -> Path:
        return self.path.with_name(self.path.name + ".ready")

    def start(self) -> Gateway:
        """Start the server and wait until it answers."""
        self.ready_file.unlink(missing_ok=True)
        self.process = self.launch()
        end = time.monotonic() + _START_SECONDS
        while not self.ready_file.exists():
            assert self.process.poll() is None, f"The server ended: {self.log.read_text()}"
            assert time.monotonic() < end, f"The server does not answer: {self.log.read_text()}"
            time.sleep(0.02)
        return self.adopt(self.ready_file)

    def adopt(self, ready_file: Path) -> Gateway:
        """Use the ports in this ready file, which this process must have written."""
        ready = json.loads(ready_file.read_text())
        assert self.process is not None
        assert ready["pid"] == self.process.pid
        self.http_port, self.native_port = ready["http_port"], ready["native_port"]
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal the server, wait for its end, and return the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def memory(self) -> int:
        """Return the resident memory of the process in bytes."""
        assert self.process is not None
        resident: int = psutil.Process(self.process.pid).memory_info().rss
        return resident

    def connect(self, **options: Any) -> Client:
        """Return a clickhouse-connect client."""
        defaults: dict[str, Any] = {
            "username": USER,
            "password": PASSWORD,
            "database": DATABASE,
            "autogenerate_session_id": False,
        }
        return clickhouse_connect.get_client(host="127.0.0.1", port=self.http_port, **(defaults | options))

    def driver(self, **options: Any) -> clickhouse_driver.Client:
        """Return a clickhouse-driver client."""
        defaults: dict[str, Any] = {"user": USER, "password": PASSWORD, "database": DATABASE}
        return clickhouse_driver.Client("127.0.0.1", port=self.native_port, **(defaults | options))

    @contextmanager
    def stream(
        self,
        body: object = None,
        *,
        method: str = "POST",
        path: str = "/",
        headers: dict[str, str] | None = None,
        plain: bool = False,
        **url: object,
    ) -> Iterator[HTTPResponse]:
        """Send an HTTP request and yield its unread answer; a `plain` one has no user and password."""
        given = {} if plain else {"X-ClickHouse-User": USER, "X-ClickHouse-Key": PASSWORD.encode().decode("latin-1")}
        with closing(HTTPConnection("127.0.0.1", self.http_port, timeout=30)) as connection:
            target = f"{path}?{urllib.parse.urlencode(url)}"
            connection.request(method, target, body, given | (headers or {}))  # type: ignore[arg-type]
            with connection.getresponse() as response:
                yield response

    def send(self, body: object = None, **options: Any) -> Answer:
        """Send an HTTP request and return its complete answer."""
        with self.stream(body, **options) as response:
            return Answer(response.status, response.headers, response.read())

    def ask(self, body: object, **options: Any) -> str:
        """Run a query and return its result as text; assert that it succeeds."""
        answer = self.send(body, **options)
        assert answer.status == 200, answer.text
        return answer.text

    def wait_until(self, sql: str, expected: str, seconds: float = 10.0) -> None:
        """Repeat a query until its result is the expected one."""
        end = time.monotonic() + seconds
        while (answer := self.ask(sql).strip()) != expected:
            assert time.monotonic() < end, f"{sql} still answers {answer!r}, not {expected!r}"
            time.sleep(0.02)


@contextmanager
def running(path: Path, max_memory: int = 2 << 30) -> Iterator[Gateway]:
    """Run a server, which is stopped at the end of the context."""
    gateway = Gateway(path, max_memory)
    try:
        yield gateway.start()
    finally:
        if gateway.process is not None:
            gateway.stop()
