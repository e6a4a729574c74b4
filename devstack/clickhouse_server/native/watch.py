"""Detects that a client disconnects or cancels while its query runs."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
from collections.abc import Callable, Iterator

from devstack.clickhouse_server.native.wire import FromClient


class Watcher:
    """One thread that watches the connections of all running queries."""

    def __init__(self) -> None:
        """Start the thread."""
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        wake_read, self._wake = os.pipe()
        self._selector.register(wake_read, selectors.EVENT_READ, None)
        self._wake_read = wake_read
        threading.Thread(target=self._watch, name="native-watch", daemon=True).start()

    @contextlib.contextmanager
    def watching(self, connection: socket.socket, on_gone: Callable[[], None]) -> Iterator[None]:
        """Call `on_gone` once if the client closes the connection or sends CANCEL before the context ends."""
        with self._lock:
            self._selector.register(connection, selectors.EVENT_READ, on_gone)
        os.write(self._wake, b"w")
        try:
            yield
        finally:
            self._forget(connection)

    def _watch(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    os.read(self._wake_read, 1 << 10)
                elif isinstance(key.fileobj, socket.socket):
                    self._inspect(key.fileobj, key.data)

    def _inspect(self, connection: socket.socket, on_gone: Callable[[], None]) -> None:
        """Check the next byte of a readable connection once: during a query, clients send only CANCEL."""
        try:
            first = connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            first = b""
        if self._forget(connection) and (not first or first[0] == FromClient.CANCEL):
            on_gone()

    def _forget(self, connection: socket.socket) -> bool:
        with self._lock, contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection)
            return True
        return False
