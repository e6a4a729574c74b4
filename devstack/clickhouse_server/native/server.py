"""Listens for native clients and starts a thread for each connection."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading

from devstack.clickhouse_server.auth import Credentials
from devstack.clickhouse_server.engine import Engine
from devstack.clickhouse_server.native.connection import Connection
from devstack.clickhouse_server.native.watch import Watcher

_log = logging.getLogger(__name__)
_BACKLOG = 256


class NativeServer:
    """The native protocol on one port."""

    def __init__(self, engine: Engine, credentials: Credentials, host: str, port: int) -> None:
        """Bind the port; `start` begins to serve it.

        Args:
            engine: runs the queries.
            credentials: the login of clients.
            host: address to listen on.
            port: 0 for any free port.

        Raises:
            OSError: the port is taken.
        """
        self._engine = engine
        self._credentials = credentials
        self._listener = socket.create_server((host, port), backlog=_BACKLOG)
        self._watcher = Watcher()

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._listener.getsockname()[1]
        return port

    def start(self) -> None:
        """Begin to serve."""
        threading.Thread(target=self._accept, name="native-accept", daemon=True).start()

    def close(self) -> None:
        """Accept no more connections; the open ones end with their clients or with the process."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), name="native-client", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        with connection:
            try:
                Connection(connection, self._engine, self._credentials, self._watcher).serve()
            except Exception:
                _log.exception("A connection failed because of an error in the server")
