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
    """The Python with the engine: OFFLOAD_DEVSTACK_PYTHON, else the one of the embedded environment."""
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
    """One server process on free ports of 127.0.0.1."""

    path: Path
    max_memory: int = 2 << 30
    process: subprocess.Popen[bytes] | None = None
    http_port: int = 0
    native_port: int = 0
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.path.with_name(self.path.name + ".log")

    def launch(self, http_port: int = 0, native_port: int = 0, **environ: str) -> subprocess.Popen[bytes]:
        """Start the process and return at once."""
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
        """Start it and wait until it answers."""
        self.ready_file.unlink(missing_ok=True)
        self.process = self.launch()
        end = time.monotonic() + _START_SECONDS
        while not self.ready_file.exists():
            assert self.process.poll() is None, f"The server ended: {self.log.read_text()}"
            assert time.monotonic() < end, f"The server does not answer: {self.log.read_text()}"
            time.sleep(0.02)
        return self.adopt(self.ready_file)

    def adopt(self, ready_file: Path) -> Gateway:
        """Talk to the server that wrote this file, which must be this one's process."""
        ready = json.loads(ready_file.read_text())
        assert self.process is not None
        assert ready["pid"] == self.process.pid
        self.http_port, self.native_port = ready["http_port"], ready["native_port"]
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait for its end; returns the exit status."""
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
        """Bytes of memory the process holds."""
        assert self.process is not None
        resident: int = psutil.Process(self.process.pid).memory_info().rss
        return resident

    def connect(self, **options: Any) -> Client:
        """A clickhouse-connect client."""
        given: dict[str, Any] = {
            "username": USER,
            "password": PASSWORD,
            "database": DATABASE,
            "autogenerate_session_id": False,
        }
        return clickhouse_connect.get_client(host="127.0.0.1", port=self.http_port, **(given | options))

    def driver(self, **options: Any) -> clickhouse_driver.Client:
        """A clickhouse-driver client."""
        given: dict[str, Any] = {"user": USER, "password": PASSWORD, "database": DATABASE}
        return clickhouse_driver.Client("127.0.0.1", port=self.native_port, **(given | options))

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
        """An HTTP request whose answer is still to be read; a `plain` one brings no user and password."""
        given = {} if plain else {"X-ClickHouse-User": USER, "X-ClickHouse-Key": PASSWORD.encode().decode("latin-1")}
        with closing(HTTPConnection("127.0.0.1", self.http_port, timeout=30)) as connection:
            target = f"{path}?{urllib.parse.urlencode(url)}"
            connection.request(method, target, body, given | (headers or {}))  # type: ignore[arg-type]
            with connection.getresponse() as response:
                yield response

    def send(self, body: object = None, **options: Any) -> Answer:
        """An HTTP request and its whole answer."""
        with self.stream(body, **options) as response:
            return Answer(response.status, response.headers, response.read())

    def ask(self, body: object, **options: Any) -> str:
        """The text a query answers; asserts that it succeeds."""
        answer = self.send(body, **options)
        assert answer.status == 200, answer.text
        return answer.text

    def wait_until(self, sql: str, expected: str, seconds: float = 10.0) -> None:
        """Ask again and again until the answer is the expected one."""
        end = time.monotonic() + seconds
        while (answer := self.ask(sql).strip()) != expected:
            assert time.monotonic() < end, f"{sql} still answers {answer!r}, not {expected!r}"
            time.sleep(0.02)


@contextmanager
def running(path: Path, max_memory: int = 2 << 30) -> Iterator[Gateway]:
    """A server that is stopped at the end of the context."""
    gateway = Gateway(path, max_memory)
    try:
        yield gateway.start()
    finally:
        if gateway.process is not None:
            gateway.stop()
