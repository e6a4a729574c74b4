"""Chooses loopback ports: the one asked for, or the next free one, and the same one again at the next start."""

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
"""Per use: the variable that sets the first port to try, and the port when it is unset."""

_TRIES = 200
_RACES = 5


class Ports:
    """The ports of one stack, remembered in `run/ports.json` between starts."""

    def __init__(self, run: Path, environ: Mapping[str, str] = os.environ) -> None:
        """`run` is the folder that remembers; `environ` holds the OFFLOAD_PORT_ variables."""
        self._file = run / "ports.json"
        self._environ = environ
        self._asked: dict[str, int] = {}
        self._given: dict[str, int] = {}
        if self._file.exists():
            remembered: dict[str, dict[str, int]] = json.loads(self._file.read_text())
            self._asked, self._given = remembered["asked"], remembered["given"]

    def choose(self, use: str) -> int:
        """A port that is free now, remembered for `use` until another one is asked for.

        Raises:
            PartFailedError: the variable holds no port, or no port is free near the one asked for.
        """
        asked = self._ask(use)
        again = [self._given[use]] if self._asked.get(use) == asked else []
        others = {port for name, port in self._given.items() if name != use}
        upwards = range(asked, min(asked + _TRIES, 65536))
        candidates: list[int] = [*again, *upwards]
        for port in candidates:
            if port not in others and is_free(port):
                self._asked[use], self._given[use] = asked, port
                write_private(self._file, json.dumps({"asked": self._asked, "given": self._given}))
                return port
        variable = DEFAULTS[use][0]
        raise PartFailedError(f"no port is free from {asked} to {upwards[-1]}. Set {variable} to another one.")

    def listen(self, use: str) -> socket.socket:
        """A listening socket on a port chosen as `choose` does: nobody can take the port between choice and start.

        Raises:
            PartFailedError: as `choose`, or others took every port that was chosen.
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

    def _ask(self, use: str) -> int:
        variable, default = DEFAULTS[use]
        text = self._environ.get(variable) or str(default)
        if not text.isdigit() or not 1024 <= int(text) <= 65535:
            raise PartFailedError(f"{variable}={text} is no port. Set it to a number from 1024 to 65535, or unset it.")
        return int(text)


def is_free(port: int) -> bool:
    """True when a server could listen on the loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
