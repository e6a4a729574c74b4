"""A TCP proxy that makes a server refuse or break off connections, lose a request or its answer, or answer short.

with proxied(world) as (job_world, proxies):
    with job_world.paused(table, "after-audit") as job:
        proxies.catalog.swallow_answer(UPDATE)
    ended = job_world.finish(job)
    assert proxies.catalog.has_struck
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import urlsplit

from tests.support.spark.world import World
from tests.support.waiting import wait_until

_Self = TypeVar("_Self", bound="FaultProxy")
_PIECE = 1 << 16
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class _Strike:
    """The fault that a request meets.

    Attributes:
        pattern: bytes that the request contains.
        skip: how many such requests pass before.
        forwards: whether the server gets the request.
        cuts: whether the connection is broken off; otherwise it stays open and silent.
        answer_bytes: how much of the answer reaches the client before the connection is cut.
        refuses: whether new connections are refused from then on.
    """

    pattern: bytes
    skip: int = 0
    forwards: bool = True
    cuts: bool = True
    answer_bytes: int = 0
    refuses: bool = False


class FaultProxy:
    """A proxy in front of one server, to be used as a context manager. Without orders it only forwards bytes.

    Args:
        host, port: the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._lock = threading.Lock()
        self._links: list[_Link] = []
        self._strike: _Strike | None = None
        self._rewrite: tuple[bytes, bytes] | None = None
        self._is_wanted, self._is_listening, self._is_closed = threading.Event(), threading.Event(), threading.Event()
        self._struck = threading.Event()
        with _bound(0) as found:
            self.port = int(found.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, name=f"proxy of {host}:{port}", daemon=True)

    def __enter__(self: _Self) -> _Self:
        self._thread.start()
        self.back()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed.set()
        self.cut()
        self._thread.join()

    @property
    def has_struck(self) -> bool:
        """Whether the last order about a request has been carried out."""
        return self._struck.is_set()

    def refuse(self) -> None:
        """Refuse new connections; open ones stay."""
        self._is_wanted.clear()
        wait_until(lambda: not self._is_listening.is_set(), "the proxy to refuse connections", seconds=10)

    def cut(self) -> None:
        """Break off every open connection."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.cut()

    def vanish(self) -> None:
        """Refuse new connections and break off open ones, like a server that has died."""
        self.refuse()
        self.cut()

    def back(self) -> None:
        """Accept connections again, and forget every order."""
        with self._lock:
            self._strike = self._rewrite = None
        self._struck.clear()
        self._is_wanted.set()
        wait_until(self._is_listening.is_set, "the proxy to accept connections", seconds=10)

    def lose_request(self, pattern: bytes, *, skip: int = 0, refuses: bool = False) -> None:
        """Break off the connection that carries a request with `pattern`. The server never sees the request."""
        self._order(_Strike(pattern, skip, forwards=False, refuses=refuses))

    def swallow_answer(self, pattern: bytes, *, skip: int = 0, refuses: bool = False) -> None:
        """Forward a request with `pattern`, wait until the server has answered, and break off without the answer."""
        self._order(_Strike(pattern, skip, refuses=refuses))

    def shorten_answer(self, pattern: bytes, answer_bytes: int, *, skip: int = 0, refuses: bool = False) -> None:
        """Break off after the first `answer_bytes` of the answer to a request with `pattern`."""
        self._order(_Strike(pattern, skip, answer_bytes=answer_bytes, refuses=refuses))

    def silence(self, pattern: bytes) -> None:
        """Swallow a request with `pattern` and leave the connection open, like a server that hangs."""
        self._order(_Strike(pattern, forwards=False, cuts=False))

    def rewrite(self, old: bytes, new: bytes) -> None:
        """Replace bytes in every request by as many other bytes, so that the server answers something else."""
        assert len(old) == len(new), "a request's length is announced in its head"
        with self._lock:
            self._rewrite = (old, new)

    def _order(self, strike: _Strike) -> None:
        with self._lock:
            self._struck.clear()
            self._strike = strike

    def _serve(self) -> None:
        """Hold the port, listening or not, until the proxy is closed."""
        while not self._is_closed.is_set():
            with _bound(self.port) as listener:
                if self._is_wanted.is_set():
                    self._accept(listener)
                else:
                    self._is_listening.clear()
                    self._wait_while(listening=False)

    def _accept(self, listener: socket.socket) -> None:
        listener.settimeout(_POLL_SECONDS)
        listener.listen()
        self._is_listening.set()
        while self._is_wanted.is_set() and not self._is_closed.is_set():
            with suppress(TimeoutError, socket.timeout):
                client, _ = listener.accept()
                self._connect(client)

    def _wait_while(self, *, listening: bool) -> None:
        while self._is_wanted.is_set() is listening and not self._is_closed.wait(_POLL_SECONDS):
            pass

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._server, timeout=10)
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(self, client, server)
        with self._lock:
            self._links.append(link)
        link.start()

    def on_request(self, link: _Link, data: bytes) -> bytes | None:
        """The bytes of a request to forward, possibly none; None breaks the connection off."""
        with self._lock:
            if self._rewrite is not None and self._rewrite[0] in data:
                data = data.replace(*self._rewrite)
                self._struck.set()
            strike = self._strike
            if strike is None or strike.pattern not in data:
                return data
            if strike.skip:
                self._strike = replace(strike, skip=strike.skip - 1)
                return data
            self._strike = None
            link.allowance, link.refuses = strike.answer_bytes, strike.refuses
        if strike.forwards:
            return data
        self.on_strike(link)
        return None if strike.cuts else b""

    def on_strike(self, link: _Link) -> None:
        """A connection is about to be cut as ordered."""
        if link.refuses:
            self.refuse()
        self._struck.set()


class _Link:
    """One client's connection to the server through the proxy."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self.allowance: int | None = None
        self.refuses = False
        self._threads = [threading.Thread(target=pump, daemon=True) for pump in (self._requests, self._answers)]

    def start(self) -> None:
        """Pass bytes both ways until either end is closed."""
        for thread in self._threads:
            thread.start()

    def cut(self) -> None:
        """Close both ends."""
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=10)
        for end in (self._client, self._server):
            end.close()

    def _requests(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(_PIECE):
                passed = self._proxy.on_request(self, data)
                if passed is None:
                    break
                self._server.sendall(passed)
        self._hang_up()

    def _answers(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(_PIECE):
                allowed = data if self.allowance is None else data[: self.allowance]
                self._client.sendall(allowed)
                if self.allowance is not None:
                    self.allowance -= len(allowed)
                    if len(allowed) < len(data) or self.allowance == 0:
                        self._proxy.on_strike(self)
                        break
        self._hang_up()

    def _hang_up(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _bound(port: int) -> socket.socket:
    """A socket that holds a loopback port; until it listens, connections to the port are refused."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", port))
    return holder


@dataclass(frozen=True)
class Proxies:
    """The proxies between a job and its servers; `ledger` and `catalog` lead to the same PostgreSQL."""

    clickhouse: FaultProxy
    ledger: FaultProxy
    catalog: FaultProxy


@contextmanager
def proxied(world: World) -> Iterator[tuple[World, Proxies]]:
    """The same world with proxies between job and servers. A test should inspect the world without them."""
    right = world.connections
    catalog = urlsplit(right.iceberg.uri.removeprefix("jdbc:"))
    assert catalog.hostname
    assert catalog.port
    with ExitStack() as stack:
        proxies = Proxies(
            stack.enter_context(FaultProxy(right.clickhouse.host, right.clickhouse.http_port)),
            stack.enter_context(FaultProxy(right.postgres.host, right.postgres.port)),
            stack.enter_context(FaultProxy(catalog.hostname, catalog.port)),
        )
        here = {"host": "127.0.0.1"}
        uri = f"jdbc:{catalog._replace(netloc=f'127.0.0.1:{proxies.catalog.port}').geturl()}"
        connections = right.model_copy(
            update={
                "clickhouse": right.clickhouse.model_copy(update={**here, "http_port": proxies.clickhouse.port}),
                "postgres": right.postgres.model_copy(update={**here, "port": proxies.ledger.port}),
                "iceberg": right.iceberg.model_copy(update={"uri": uri}),
            }
        )
        yield replace(world, connections=connections), proxies
