"""The HTTP server's routes: /ping, and / for queries."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from devstack.clickhouse_server import sql
from devstack.clickhouse_server.auth import Credentials
from devstack.clickhouse_server.engine import Engine
from devstack.clickhouse_server.errors import Code, ServerError
from devstack.clickhouse_server.http import body
from devstack.clickhouse_server.http.request import read
from devstack.clickhouse_server.http.running import HttpQuery
from devstack.clickhouse_server.http.sessions import Sessions, reaping
from devstack.clickhouse_server.http.status import status_of
from devstack.clickhouse_server.http.work import QueryResources

_log = logging.getLogger(__name__)
_MAX_STATEMENT = 64 << 20
_HEAD = 1 << 20
_MAX_QUERIES = 128
_REAP_SECONDS = 1.0


RESOURCES = web.AppKey("resources", QueryResources)
CREDENTIALS = web.AppKey("credentials", Credentials)


def application(engine: Engine, credentials: Credentials) -> web.Application:
    """Return the HTTP application of this engine."""
    app = web.Application()
    app[RESOURCES] = QueryResources(engine, Sessions(engine), ThreadPoolExecutor(_MAX_QUERIES, "http-query"))
    app[CREDENTIALS] = credentials
    app.router.add_get("/ping", _ping)
    app.router.add_get("/replicas_status", _ping)
    app.router.add_route("*", "/", _query)
    app.cleanup_ctx.append(_reap_sessions)
    return app


async def _reap_sessions(app: web.Application) -> AsyncIterator[None]:
    async with reaping(app[RESOURCES].sessions, _REAP_SECONDS):
        yield


async def _ping(_: web.Request) -> web.Response:
    return web.Response(text="Ok.\n")


async def _query(request: web.Request) -> web.StreamResponse:
    resources = request.app[RESOURCES]
    try:
        return await _answer(request, resources)
    except ServerError as error:
        return error_response(error, resources.engine.version)
    except (ConnectionError, web.RequestPayloadError):
        # The client has left, or the answer broke off: closing the connection is all that remains.
        if request.transport is not None:
            request.transport.close()
        return web.Response()
    except Exception as error:
        _log.exception("A query failed because of an error in the server")
        return error_response(ServerError(Code.UNKNOWN_EXCEPTION, repr(error)), resources.engine.version)


async def _answer(request: web.Request, resources: QueryResources) -> web.StreamResponse:
    query_request = read(request)
    request.app[CREDENTIALS].check(query_request.user, query_request.password)
    if request.content_type == "multipart/form-data":
        raise ServerError(Code.NOT_IMPLEMENTED, "External data is not supported: use a temporary table in a session.")
    rest = body.pieces(request)
    text = query_request.text
    if not sql.is_whole_insert(text):
        text += await _gather(rest, text)
    if not text.strip() and request.method == "GET":
        return web.Response(text="Ok.\n")
    statement = sql.parse(text)
    if statement.kind is not sql.Kind.INSERT_DATA and (more := [piece async for piece in rest]):
        _check_size(text := b"".join([text, *more]))
        statement = sql.parse(text)
    if query_request.readonly and not statement.readonly:
        raise ServerError(
            Code.READONLY, "Cannot execute query in readonly mode: send statements that change something with POST."
        )
    query = HttpQuery(request, query_request, statement, resources)
    if statement.kind is sql.Kind.INSERT_DATA:
        return await query.insert(text[statement.data :], rest)
    return await query.run()


async def _gather(rest: AsyncIterator[bytes], text: bytes) -> bytes:
    """The body up to its end or, for an INSERT, at least up to the beginning of its rows."""
    gathered = bytearray()
    inserts = sql.begins_insert(text)
    async for piece in rest:
        gathered += piece
        inserts = inserts or (len(gathered) >= _HEAD and sql.begins_insert(text + gathered))
        if inserts and len(gathered) >= _HEAD:
            break
        _check_size(gathered)
    return bytes(gathered)


def _check_size(text: bytes | bytearray) -> None:
    if len(text) > _MAX_STATEMENT:
        raise ServerError(Code.QUERY_IS_TOO_LARGE, f"The statement is longer than {_MAX_STATEMENT} bytes.")


def error_response(error: ServerError, version: str) -> web.Response:
    """Return the error as ClickHouse answers it."""
    return web.Response(
        status=status_of(error.code),
        text=error.text(version) + "\n",
        headers={"X-ClickHouse-Exception-Code": str(error.code)},
    )
