"""One client's connection: hello, then one query after another."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator

from devstack.clickhouse_server import sql
from devstack.clickhouse_server.auth import Credentials
from devstack.clickhouse_server.cancellation import RunningQuery
from devstack.clickhouse_server.engine import Engine
from devstack.clickhouse_server.errors import Code, ServerError
from devstack.clickhouse_server.kill import kill
from devstack.clickhouse_server.native import packets
from devstack.clickhouse_server.native.block import read_block, send_block
from devstack.clickhouse_server.native.external import ExternalBlock, external_tables
from devstack.clickhouse_server.native.insert import NativeInsert
from devstack.clickhouse_server.native.result import describe, result_blocks
from devstack.clickhouse_server.native.watch import Watcher
from devstack.clickhouse_server.native.wire import REVISION, FromClient, FromServer, ProtocolError, WireReader, number
from devstack.clickhouse_server.session import EngineSession

_log = logging.getLogger(__name__)


class _UnknownLengthError(ServerError):
    """A block whose end is unknown: send the client the reason, then close the connection."""


class Connection:
    """Serves one client until it disconnects."""

    def __init__(self, connection: socket.socket, engine: Engine, credentials: Credentials, watcher: Watcher) -> None:
        """Create the object; the caller closes the socket."""
        self._socket = connection
        self._reader = WireReader(connection.recv)
        self._engine = engine
        self._credentials = credentials
        self._watcher = watcher
        self._revision = REVISION

    def serve(self) -> None:
        """Answer packets until the client disconnects or violates the protocol; never raises."""
        try:
            database = self._hello()
            with contextlib.closing(self._engine.session(database, lasting=True)) as session:
                self._socket.sendall(packets.hello(self._engine.version, self._engine.timezone))
                while not self._reader.at_end:
                    self._packet(session)
        except ServerError as error:
            with contextlib.suppress(OSError):
                self._socket.sendall(packets.exception(error, self._engine.version))
        except (OSError, EOFError):
            pass  # the client has disconnected, which is how every connection ends
        except ProtocolError as error:
            _log.warning("A client violated the protocol: %s", error)

    def _hello(self) -> str:
        if self._reader.number() != FromClient.HELLO:
            raise ProtocolError("The first packet is not HELLO.")
        client = packets.read_hello(self._reader)
        self._credentials.check(client.user, client.password)
        if not packets.supports(client.revision):
            raise ServerError(
                Code.NOT_IMPLEMENTED, f"Client revision {client.revision} is too old: update {client.client}."
            )
        self._revision = min(client.revision, REVISION)
        return client.database

    def _packet(self, session: EngineSession) -> None:
        kind = self._reader.number()
        if kind == FromClient.PING:
            self._socket.sendall(number(FromServer.PONG))
        elif kind == FromClient.QUERY:
            self._query(session, packets.read_query(self._reader, self._revision))
        elif kind != FromClient.CANCEL:  # a CANCEL may arrive after the query has ended
            raise ServerError(Code.UNEXPECTED_PACKET_FROM_CLIENT, f"Unexpected packet {kind} from client.")

    def _query(self, session: EngineSession, request: packets.Query) -> None:
        if request.compressed:
            raise ServerError(
                Code.NOT_IMPLEMENTED, "Compression of blocks is not supported: connect without compression."
            )
        tables = list(self._external_blocks())
        try:
            statement = sql.parse(request.sql)
            query = self._engine.queries.add(request.query_id)
            try:
                with session.running(query, request.settings, {}), external_tables(session, query, tables):
                    self._run(session, query, statement, request)
            finally:
                query.end()
        except _UnknownLengthError:
            raise
        except ServerError as error:
            # A client that cancels expects the end of the stream, not an error.
            is_cancelled = error.code == Code.QUERY_WAS_CANCELLED and self._cancels()
            end = number(FromServer.END_OF_STREAM)
            self._socket.sendall(end if is_cancelled else packets.exception(error, self._engine.version))
        else:
            self._socket.sendall(number(FromServer.END_OF_STREAM))

    def _run(
        self, session: EngineSession, query: RunningQuery, statement: sql.Statement, request: packets.Query
    ) -> None:
        inserts = statement.kind is sql.Kind.INSERT_DATA
        if inserts and not request.sql[statement.data :].strip(b" \t\r\n;"):
            self._insert(session, query, statement)
            return
        with self._watcher.watching(self._socket, lambda: self._engine.queries.cancel(query)):
            if inserts:
                session.execute(request.sql.decode())
            elif statement.kind is sql.Kind.COMMAND:
                session.execute(statement.sql)
            else:
                result = kill(self._engine, statement) if statement.kind is sql.Kind.KILL else statement
                self._send_result(session, query, result)

    def _send_result(self, session: EngineSession, query: RunningQuery, statement: sql.Statement) -> None:
        with contextlib.closing(result_blocks(self._engine, session, statement)) as blocks:
            for block in blocks:
                query.check()
                send_block(self._socket, block)

    def _insert(self, session: EngineSession, query: RunningQuery, statement: sql.Statement) -> None:
        send_block(self._socket, describe(session, statement.target).native())
        insert = NativeInsert(session, query, statement.from_file)
        query.on_killed(self._stop_listening)
        try:
            while (block := self._data().block).names:
                insert.append(block)
        except BaseException as error:
            insert.abort(self._engine.queries)
            if query.killed.is_set() and isinstance(error, EOFError):
                raise _UnknownLengthError(Code.QUERY_WAS_CANCELLED, "Query was cancelled.") from error
            raise
        insert.finish()

    def _stop_listening(self) -> None:
        """Stop waiting for rows that are no longer needed."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def _external_blocks(self) -> Iterator[ExternalBlock]:
        """The external tables that follow a query, up to an empty block."""
        while (external := self._data()).block.names:
            yield external

    def _data(self) -> ExternalBlock:
        kind = self._reader.number()
        if kind == FromClient.CANCEL:
            raise ServerError(Code.QUERY_WAS_CANCELLED, "Query was cancelled.")
        if kind != FromClient.DATA:
            raise ProtocolError(f"Packet {kind} arrived instead of rows.")
        table = self._reader.text()  # empty for the rows of an INSERT
        try:
            return ExternalBlock(table, read_block(self._reader))
        except ServerError as error:
            raise _UnknownLengthError(error.code, error.message, error.name) from error

    def _cancels(self) -> bool:
        """Whether the client's next packet is CANCEL."""
        with contextlib.suppress(BlockingIOError):
            return self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == bytes((FromClient.CANCEL,))
        return False
