"""One client's connection: hello, then one query after another."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import socket
from collections.abc import Iterator

from embedded.clickhouse import sql
from embedded.clickhouse.auth import Credentials
from embedded.clickhouse.cancellation import RunningQuery
from embedded.clickhouse.engine import Engine
from embedded.clickhouse.errors import Code, ServerError
from embedded.clickhouse.kill import kill
from embedded.clickhouse.native import packets
from embedded.clickhouse.native.block import EMPTY, Block, header_block, read_block, read_native, send_block
from embedded.clickhouse.native.watch import Watcher
from embedded.clickhouse.native.wire import REVISION, FromClient, FromServer, ProtocolError, Reader, number
from embedded.clickhouse.session import EngineSession

_log = logging.getLogger(__name__)


class Connection:
    """Serves one client until it leaves."""

    def __init__(self, connection: socket.socket, engine: Engine, credentials: Credentials, watcher: Watcher) -> None:
        """The socket stays the caller's to close."""
        self._socket = connection
        self._reader = Reader(connection.recv)
        self._engine = engine
        self._credentials = credentials
        self._watcher = watcher
        self._revision = REVISION

    def serve(self) -> None:
        """Talk until the client leaves or breaks the protocol; never raises."""
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
            pass  # the client is gone, which is how every conversation ends
        except ProtocolError as error:
            _log.warning("A client broke the protocol: %s", error)

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
        elif kind != FromClient.CANCEL:  # a CANCEL that came too late is no mistake
            raise ServerError(Code.UNEXPECTED_PACKET_FROM_CLIENT, f"Unexpected packet {kind} from client.")

    def _query(self, session: EngineSession, asked: packets.Query) -> None:
        if asked.compressed:
            raise ServerError(
                Code.NOT_IMPLEMENTED, "Compression of blocks is not supported: connect without compression."
            )
        self._no_external_tables()
        try:
            statement = sql.parse(asked.sql)
            query = self._engine.queries.add(asked.query_id)
            try:
                with session.running(query, asked.settings, {}):
                    self._run(session, query, statement, asked)
            finally:
                self._engine.queries.remove(query)
        except ServerError as error:
            self._socket.sendall(packets.exception(error, self._engine.version))
        else:
            self._socket.sendall(number(FromServer.END_OF_STREAM))

    def _run(self, session: EngineSession, query: RunningQuery, statement: sql.Statement, asked: packets.Query) -> None:
        if statement.kind is sql.Kind.INSERT_DATA and not asked.sql[statement.data :].strip(b" \t\r\n;"):
            self._insert(session, query, statement)
            return
        with self._watcher.watching(self._socket, lambda: self._engine.queries.cancel(query)):
            if statement.kind is sql.Kind.INSERT_DATA:
                insert = session.insert(statement.sql, statement.format or "Values")
                insert.append(asked.sql[statement.data :])
                insert.finish()
            elif statement.kind is sql.Kind.COMMAND:
                session.execute(statement.sql)
            else:
                result = kill(self._engine, statement) if statement.kind is sql.Kind.KILL else statement
                self._send_result(session, query, result)

    def _send_result(self, session: EngineSession, query: RunningQuery, statement: sql.Statement) -> None:
        text = f"{statement.sql} {statement.tail}"
        sent = False
        for block in session.blocks(text) if statement.streamed else _blocks(session.fetch(text, "Native")):
            try:
                send_block(self._socket, block)
            except OSError:
                self._engine.queries.cancel(query)
                raise
            sent = True
        if not sent:
            send_block(self._socket, _header_of_nothing(session, statement))

    def _insert(self, session: EngineSession, query: RunningQuery, statement: sql.Statement) -> None:
        """Receive the rows; a failure is reported after the last of them, when the client listens again."""
        send_block(self._socket, _header(session, statement.target))
        insert = session.insert(statement.sql, "Native")
        failure: ServerError | None = None
        try:
            while (block := self._data()).columns:
                try:
                    if block.rows and failure is None:
                        query.check()
                        insert.append(block.data)
                except ServerError as error:
                    failure = error
            if failure:
                raise failure
            insert.finish()
        finally:
            insert.cancel()

    def _data(self) -> Block:
        kind = self._reader.number()
        if kind == FromClient.CANCEL:
            raise ServerError(Code.QUERY_WAS_CANCELLED, "Query was cancelled.")
        if kind != FromClient.DATA:
            raise ProtocolError(f"Packet {kind} came instead of the rows of an INSERT.")
        self._reader.raw_text()  # the name of the table: empty for the rows of an INSERT
        return read_block(self._reader)

    def _no_external_tables(self) -> None:
        """Behind a query stand the external tables it comes with, and an empty block."""
        external = False
        while self._data().columns:
            external = True
        if external:
            raise ServerError(Code.NOT_IMPLEMENTED, "External tables are not supported: use a temporary table.")


def _blocks(native: bytes) -> Iterator[bytes]:
    reader = Reader(io.BytesIO(native).read)
    while not reader.at_end:
        yield read_native(reader).data


def _header_of_nothing(session: EngineSession, statement: sql.Statement) -> bytes:
    """The names and types of a result without rows, for which the engine sends no block."""
    if statement.streamed:
        return _header(session, statement.sql)
    lines = session.fetch(statement.sql, "JSONCompactEachRowWithNamesAndTypes").splitlines()[:2]
    return header_block(*map(json.loads, lines)) if lines else EMPTY


def _header(session: EngineSession, select: str) -> bytes:
    lines = session.fetch(f"DESCRIBE ({select})", "JSONCompactEachRow").splitlines()
    columns = [json.loads(line) for line in lines]
    return header_block([column[0] for column in columns], [column[1] for column in columns])
