"""One query over HTTP: moves the bytes between the connection and the engine."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from aiohttp import web

from devstack.clickhouse_server.errors import ServerError
from devstack.clickhouse_server.http.formats import media_type
from devstack.clickhouse_server.http.pipe import AsyncRowsPipe, ResultPipe
from devstack.clickhouse_server.http.request import QueryRequest
from devstack.clickhouse_server.http.work import QueryResources, QueryWork
from devstack.clickhouse_server.session import QueryStats
from devstack.clickhouse_server.sql import Kind, Statement

_BUFFER = 1 << 20
_T = TypeVar("_T")


class HttpQuery:
    """A query and its response."""

    def __init__(
        self, request: web.Request, query: QueryRequest, statement: Statement, resources: QueryResources
    ) -> None:
        """Create the object; nothing runs yet."""
        self._request = request
        self._query = query
        self._statement = statement
        self._resources = resources

    async def run(self) -> web.StreamResponse:
        """Run a complete statement and stream its result.

        Raises:
            ServerError: the query failed before anything was sent.
        """
        with self._working() as work:
            pipe = ResultPipe()
            job = asyncio.ensure_future(self._call(work.run, pipe))
            job.add_done_callback(_retrieve_error)
            try:
                return await self._respond(work, pipe, job)
            finally:
                pipe.close_reading()

    async def insert(self, first: bytes, rest: AsyncIterator[bytes]) -> web.StreamResponse:
        """Insert the rows of the body into the table.

        Raises:
            ServerError: the INSERT failed; the table has no rows of it, or only the complete blocks before the failure.
        """
        with self._working() as work:
            pipe = AsyncRowsPipe()
            job = asyncio.ensure_future(self._call(work.insert, pipe))
            feed = asyncio.ensure_future(_feed(pipe, first, rest))

            def stop(_: object = None) -> None:
                feed.cancel()
                pipe.close_writing()

            # The engine takes the end of the pipe for the end of the rows and commits. While it would, only the end of
            # the body may end the pipe.
            job.add_done_callback(stop)
            job.add_done_callback(_retrieve_error)
            work.query.on_killed(partial(asyncio.get_running_loop().call_soon_threadsafe, stop))
            try:
                await asyncio.wait({feed, job}, return_when=asyncio.FIRST_COMPLETED)
                if feed.done() and not feed.cancelled():
                    feed.result()
                stats = await asyncio.shield(job)
            finally:
                feed.cancel()
        return web.Response(headers=self._headers(work, stats))

    async def _respond(self, work: QueryWork, pipe: ResultPipe, job: asyncio.Future[QueryStats]) -> web.StreamResponse:
        with tempfile.SpooledTemporaryFile(max_size=_BUFFER) as buffer:
            data = await pipe.read()
            while data and (buffer.tell() < _BUFFER or self._query.buffer_whole):
                buffer.write(data)
                data = await pipe.read()
            stats = None if data else await job
            response = web.StreamResponse(headers=self._headers(work, stats))
            if stats is None:
                response.enable_chunked_encoding()
            else:
                response.content_length = buffer.tell()
            await response.prepare(self._request)
            buffer.seek(0)
            while piece := buffer.read(_BUFFER):
                await response.write(piece)
        while data:
            await response.write(data)
            data = await pipe.read()
        try:
            await job
        except ServerError as error:
            await self._break_off(response, error)
        await response.write_eof()
        return response

    async def _break_off(self, response: web.StreamResponse, error: ServerError) -> None:
        """Send the error and close the connection, so that a truncated result never looks complete."""
        if not self._query.compression:
            await response.write(f"\n{error.text(self._resources.engine.version)}\n".encode())
        raise ConnectionAbortedError(str(error)) from error

    @contextmanager
    def _working(self) -> Iterator[QueryWork]:
        """Register the query while it runs, and cancel it if the answer cannot be completed."""
        queries = self._resources.engine.queries
        query = queries.add(self._query.query_id)
        try:
            yield QueryWork(self._resources, self._query, self._statement, query)
        except BaseException:
            queries.cancel(query)
            raise

    async def _call(self, work: Callable[..., _T], *arguments: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._resources.pool, work, *arguments)

    def _headers(self, work: QueryWork, stats: QueryStats | None) -> dict[str, str]:
        headers = {
            "X-ClickHouse-Query-Id": work.query.query_id,
            "X-ClickHouse-Timezone": self._resources.engine.timezone,
            "X-ClickHouse-Server-Display-Name": "embedded",
        }
        if self._statement.kind in (Kind.RESULT, Kind.KILL):
            format_name = self._statement.format or self._query.default_format
            headers |= {"X-ClickHouse-Format": format_name, "Content-Type": media_type(format_name)}
            if self._query.compression:
                headers["Content-Encoding"] = self._query.compression
        if stats is not None:
            headers["X-ClickHouse-Summary"] = _summary(stats)
        return headers


async def _feed(pipe: AsyncRowsPipe, first: bytes, rest: AsyncIterator[bytes]) -> None:
    """Write the rows; return early if the engine stops reading, because its own error then says why."""
    try:
        await pipe.send(first)
        async for piece in rest:
            await pipe.send(piece)
    except BrokenPipeError:
        return
    pipe.close_writing()


def _summary(stats: QueryStats) -> str:
    """The statistics in ClickHouse's format: JSON with numbers as text."""
    counts = {
        "read_rows": stats.read_rows,
        "read_bytes": stats.read_bytes,
        "written_rows": stats.written_rows,
        "written_bytes": stats.written_bytes,
        "total_rows_to_read": stats.read_rows,
        "result_rows": stats.result_rows or stats.written_rows,
        "elapsed_ns": round(stats.elapsed * 1e9),
    }
    return json.dumps({name: str(count) for name, count in counts.items()})


def _retrieve_error(job: asyncio.Future[QueryStats]) -> None:
    """Mark the error of a job as seen: asyncio would log it if the client has left and nobody waits for the job."""
    if not job.cancelled():
        job.exception()
