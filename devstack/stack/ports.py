"""Chooses loopback ports: the requested one or the next free one, and the same one again at the next start."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from devstack.stack.errors import PartFailedError
from devstack.stack.files import write_private

LOOPBACK = "127.0.0.1"
DEFAULTS = {
    "postgres": ("OFFLOAD_PORT_POSTGRES", 15432),
    "clickhouse_http": ("OFFLOAD_PORT_CLICKHOUSE_HTTP", 18123),
    "clickhouse_native": ("OFFLOAD_PORT_CLICKHOUSE_NATIVE", 19000),
    "airflow": ("OFFLOAD_PORT_AIRFLOW", 18080),
    "exporter": ("OFFLOAD_PORT_EXPORTER", 8000),
}
"""For each use: the variable with the first port to try, and the port if it is not set."""

_TRIES = 200
_RACES = 5


class Ports:
    """The ports of one stack, kept in `run/ports.json` between starts."""

    def __init__(self, run: Path, environ: Mapping[str, str] = os.environ) -> None:
        """Read the ports of earlier starts from the folder `run`; `environ` has the OFFLOAD_PORT_ variables."""
        self._file = run / "ports.json"
        self._environ = environ
        self._requested: dict[str, int] = {}
        self._given: dict[str, int] = {}
        if self._file.exists():
            remembered: dict[str, dict[str, int]] = json.loads(self._file.read_text())
            self._requested, self._given = remembered["asked"], remembered["given"]

    def choose(self, use: str) -> int:
        """Return a free port for `use`. It stays the same until another one is requested.

        Raises:
            PartFailedError: the variable contains no port number, or no port near the requested one is free.
        """
        requested = self._request(use)
        earlier = [self._given[use]] if self._requested.get(use) == requested else []
        others = {port for name, port in self._given.items() if name != use}
        upwards = range(requested, min(requested + _TRIES, 65536))
        candidates: list[int] = [*earlier, *upwards]
        for port in candidates:
            if port not in others and is_free(port):
                self._requested[use], self._given[use] = requested, port
                write_private(self._file, json.dumps({"asked": self._requested, "given": self._given}))
                return port
        variable = DEFAULTS[use][0]
        raise PartFailedError(f"no port from {requested} to {upwards[-1]} is free. Set {variable} to another one.")

    def listen(self, use: str) -> socket.socket:
        """Return a listening socket on a port that `choose` returns, so that no other program can take the port.

        Raises:
            PartFailedError: for the reasons of `choose`, or because other programs took every chosen port.
        """
        for _ in range(_RACES):
            server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                server.bind((LOOPBACK, self.choose(use)))
                server.listen()
            except OSError:
                server.close()
                continue
            return server
        raise PartFailedError(f"other programs took every port chosen for {use}. Repeat the command.")

    def _request(self, use: str) -> int:
        variable, default = DEFAULTS[use]
        text = self._environ.get(variable) or str(default)
        if not text.isdigit() or not 1024 <= int(text) <= 65535:
            raise PartFailedError(
                f"{variable}={text} is not a port. Set it to a number from 1024 to 65535, or unset it."
            )
        return int(text)


def is_free(port: int) -> bool:
    """Whether a server could listen on the loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
