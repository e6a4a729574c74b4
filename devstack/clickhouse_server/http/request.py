"""A query as an HTTP request describes it, in URL parameters and headers."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from devstack.clickhouse_server.errors import Code, ServerError

_NOT_SETTINGS = frozenset(
    (
        *("query", "database", "user", "password", "quota_key", "role", "query_id", "default_format", "stacktrace"),
        *("session_id", "session_timeout", "session_check", "close_session", "client_protocol_version"),
        *("compress", "decompress", "wait_end_of_query", "buffer_size", "http_zlib_compression_level"),
        *("enable_http_compression", "add_http_cors_header", "send_progress_in_http_headers"),
    )
)
# The best ratio of saved bytes to CPU time first.
_COMPRESSIONS = ("zstd", "lz4", "br", "gzip", "deflate")
_DEFAULT_SESSION_SECONDS, _MAX_SESSION_SECONDS = 60, 3600


@dataclass(frozen=True)
class QueryRequest:
    """A query that arrived over HTTP.

    Attributes:
        text: the part of the statement in the URL, followed by a line end; the body continues it.
        compression: the compression of the result, or None.
        buffer_whole: whether to answer only when the query has ended (`wait_end_of_query`).
        readonly: whether it is a GET, which must not change anything.
    """

    text: bytes
    database: str
    user: str
    password: str = field(repr=False)
    query_id: str
    session_id: str
    session_seconds: int
    session_must_exist: bool
    close_session: bool
    default_format: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    compression: str | None
    compression_level: int
    buffer_whole: bool
    readonly: bool


def read(request: web.Request) -> QueryRequest:
    """Read the URL parameters and headers of a request.

    Raises:
        ServerError: NOT_IMPLEMENTED for the native protocol's own compression, or BAD_ARGUMENTS for a bad number.
    """
    url = request.query
    for name in ("compress", "decompress"):
        if _flag(url.get(name, "0")):
            raise ServerError(
                Code.NOT_IMPLEMENTED, f"{name}=1 is not supported: use HTTP compression (Accept-Encoding)."
            )
    user, password = _credentials(request)
    text = url.get("query", "")
    return QueryRequest(
        text=(text + "\n").encode() if text else b"",
        database=url.get("database", "") or request.headers.get("X-ClickHouse-Database", ""),
        user=user,
        password=password,
        query_id=url.get("query_id", "") or request.headers.get("X-ClickHouse-Query-Id", ""),
        session_id=url.get("session_id", ""),
        session_seconds=_session_seconds(url.get("session_timeout")),
        session_must_exist=_flag(url.get("session_check", "0")),
        close_session=_flag(url.get("close_session", "0")),
        default_format=url.get("default_format") or request.headers.get("X-ClickHouse-Format") or "TabSeparated",
        settings={name: url[name] for name in url if not _is_protocol_parameter(name)},
        parameters={name.removeprefix("param_"): url[name] for name in url if name.startswith("param_")},
        compression=_compression(request),
        compression_level=_number("http_zlib_compression_level", url.get("http_zlib_compression_level", "3")),
        buffer_whole=_flag(url.get("wait_end_of_query", "0")),
        readonly=request.method in ("GET", "HEAD"),
    )


def _is_protocol_parameter(name: str) -> bool:
    return name in _NOT_SETTINGS or name.startswith("param_")


def _credentials(request: web.Request) -> tuple[str, str]:
    """User and password: from ClickHouse's headers, HTTP basic or the URL, in this order."""
    headers = request.headers
    if "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers:
        return headers.get("X-ClickHouse-User", "default"), headers.get("X-ClickHouse-Key", "")
    scheme, _, encoded = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ServerError(Code.AUTHENTICATION_FAILED, "Invalid HTTP basic credentials.") from error
        return user, password
    return request.query.get("user", "default"), request.query.get("password", "")


def _compression(request: web.Request) -> str | None:
    if not _flag(request.query.get("enable_http_compression", "0")):
        return None
    accepted = {part.split(";")[0].strip().lower() for part in request.headers.get("Accept-Encoding", "").split(",")}
    return next((name for name in _COMPRESSIONS if name in accepted), None)


def _session_seconds(text: str | None) -> int:
    seconds = _DEFAULT_SESSION_SECONDS if text is None else _number("session_timeout", text)
    if not 0 < seconds <= _MAX_SESSION_SECONDS:
        raise ServerError(
            Code.INVALID_SESSION_TIMEOUT,
            f"Session timeout {seconds} is not between 1 and the maximum of {_MAX_SESSION_SECONDS} seconds.",
        )
    return seconds


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ServerError(Code.BAD_ARGUMENTS, f"{name} must be a whole number, not {text!r}.")
    return int(text)


def _flag(text: str) -> bool:
    return text.lower() in ("1", "true")
