"""A small ClickHouse client over HTTP: queries with bound parameters, and results streamed into a file.

Values are passed as query parameters (`{name:Type}`), identifiers through `quote_identifier`; neither is ever pasted
into SQL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

from offload_core.config.connections import ClickHouseConnection
from offload_core.config.settings import Settings
from offload_core.errors import ClickHouseUnavailable, FixCredentials, FixSource, OffloadError, QueryFailed
from offload_core.source.quoting import quote_table

_AUTHENTICATION_FAILED = {192, 193, 194, 516}
_ACCESS_DENIED = 497
_NO_SUCH_TABLE_OR_DATABASE = {60, 81}
_NO_SUCH_COLUMN = {16, 47}
_BUSY = {
    159: "TIMEOUT_EXCEEDED",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    203: "NO_FREE_CONNECTION",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    236: "ABORTED",
    241: "MEMORY_LIMIT_EXCEEDED",
    279: "ALL_CONNECTION_TRIES_FAILED",
    394: "QUERY_WAS_CANCELLED",
    439: "CANNOT_SCHEDULE_TASK",
    999: "KEEPER_EXCEPTION",
}
"""Errors of a server that is overloaded, is shutting down or has lost its peers: they may be gone a minute later."""
_CHUNK = 1 << 20
_ERROR_TAIL = 16 << 10


class ClickHouse:
    """A pool of HTTP connections to one server; threads may share it.

    Args:
        connection: where the server is and how to log in.
        timeout_seconds: longest silence before a query fails.
        settings: ClickHouse settings of every query.
        pool_size: connections kept open.
    """

    def __init__(
        self,
        connection: ClickHouseConnection,
        timeout_seconds: float = 60,
        settings: Mapping[str, str | int | float] | None = None,
        pool_size: int = 4,
    ) -> None:
        self._connection = connection
        self._settings = {**_COMPLETE, **{key: str(value) for key, value in (settings or {}).items()}}
        scheme = urllib3.HTTPSConnectionPool if connection.secure else urllib3.HTTPConnectionPool
        self._pool = scheme(
            connection.host,
            connection.http_port,
            maxsize=pool_size,
            block=False,
            timeout=urllib3.Timeout(connect=10, read=timeout_seconds),
            retries=False,
            headers={
                "X-ClickHouse-User": _header(connection.user),
                "X-ClickHouse-Key": _header(connection.password.get_secret_value()),
                "X-ClickHouse-Database": _header(connection.database),
                "User-Agent": "iceberg-offload",
            },
        )

    @classmethod
    def from_settings(
        cls,
        connection: ClickHouseConnection,
        settings: Settings,
        *,
        timeout_seconds: float | None = None,
        pool_size: int = 4,
    ) -> ClickHouse:
        """A client with the pipeline's settings.

        Args:
            connection: where the server is and how to log in.
            settings: the pipeline's settings.
            timeout_seconds: longest silence before a query fails; None: the setting's.
            pool_size: connections kept open.
        """
        seconds = settings.clickhouse_timeout_seconds if timeout_seconds is None else timeout_seconds
        return cls(connection, seconds, settings.clickhouse_settings, pool_size)

    def close(self) -> None:
        """Close the pool's connections."""
        self._pool.close()

    def rows(
        self, query: str, parameters: Mapping[str, str] | None = None, settings: Mapping[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """Run a query and return its rows as JSON objects; 64-bit and larger integers and decimals arrive as strings.

        Raises:
            ClickHouseUnavailable: the server is unreachable or silent for too long, or its answer broke off.
            FixCredentials: it refused the user or the password.
            FixSource: a table, database or column does not exist.
            QueryFailed: it answered with any other error.
        """
        body = self._call(f"{query} FORMAT JSONEachRow", parameters, {**_JSON_SETTINGS, **(settings or {})})
        # Not splitlines(): values may contain other line breaks than the one between rows.
        return [json.loads(line) for line in body.split("\n") if line]

    def command(self, statement: str) -> None:
        """Run a statement that returns no rows. Raises as `rows` does."""
        self._call(statement, None, {})

    def insert(self, table: str, data: bytes, input_format: str) -> None:
        """Insert `data`, encoded in a ClickHouse format such as Parquet or CSVWithNames. Raises as `rows` does."""
        statement = f"INSERT INTO {quote_table(table)} FORMAT {input_format}"
        self._read(data, {"query": statement})

    def download(self, query: str, parameters: Mapping[str, str], settings: Mapping[str, str], path: Path) -> int:
        """Stream a query's result (the query names its FORMAT) into a new file and return its size in bytes.

        The file appears under its name only when complete. Raises as `rows` does.
        """
        partial = path.with_name(path.name + ".part")
        try:
            with (
                self._open(query.encode(), self._url_parameters(parameters, settings)) as response,
                partial.open("wb") as file,
            ):
                # Not read(): it would lose the bytes just before the stream broke, where ClickHouse's error is.
                for piece in response.stream(_CHUNK):
                    file.write(piece)
            partial.rename(path)
        except urllib3.exceptions.HTTPError as error:
            raise self._broken_off(partial, error) from error
        finally:
            partial.unlink(missing_ok=True)
        return path.stat().st_size

    def _call(self, query: str, parameters: Mapping[str, str] | None, settings: Mapping[str, str]) -> str:
        return self._read(query.encode(), self._url_parameters(parameters or {}, settings))

    def _read(self, body: bytes, fields: Mapping[str, str]) -> str:
        with self._open(body, fields) as response:
            try:
                return response.read().decode()
            except urllib3.exceptions.HTTPError as error:
                raise self._unavailable(error) from error

    def _url_parameters(self, parameters: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
        return {
            **self._settings,
            **settings,
            **{f"param_{name}": _escaped(value) for name, value in parameters.items()},
        }

    def _open(self, body: bytes, fields: Mapping[str, str]) -> urllib3.response.BaseHTTPResponse:
        url = f"/?{urlencode(fields)}" if fields else "/"
        try:
            response = self._pool.urlopen("POST", url, body=body, preload_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise self._unavailable(error) from error
        if response.status == 200:
            return self._measured(response)
        try:
            text = response.read().decode(errors="replace")
        except urllib3.exceptions.HTTPError as error:
            raise self._unavailable(error) from error
        code = int(response.headers.get("X-ClickHouse-Exception-Code") or 0)
        if not code and "DB::Exception" not in text:
            raise self._unavailable(f"HTTP status {response.status}, which is not ClickHouse's own")
        raise server_error(code, text, self._connection.user)

    def _measured(self, response: urllib3.response.BaseHTTPResponse) -> urllib3.response.BaseHTTPResponse:
        """The answer, if it declares its end.

        An answer that ends where the connection closes could be cut anywhere, even within its head, and a count without
        rows would look like an empty window.
        """
        if response.headers.get("Transfer-Encoding", "").lower() == "chunked" or "Content-Length" in response.headers:
            return response
        response.close()
        raise self._unavailable("the answer does not declare its end, or its head broke off")

    def _broken_off(self, partial: Path, error: Exception) -> OffloadError:
        # ClickHouse reports an error after the first byte as text at the end of the stream, which then breaks.
        with partial.open("rb") as file:
            file.seek(max(0, partial.stat().st_size - _ERROR_TAIL))
            tail = file.read().decode(errors="replace")
        found = tail.rfind("Code: ")
        if found >= 0 and "DB::Exception" in tail[found:]:
            return server_error(0, tail[found:], self._connection.user)
        return self._unavailable(error)

    def _unavailable(self, reason: Exception | str) -> ClickHouseUnavailable:
        where = f"{self._connection.host}:{self._connection.http_port}"
        return ClickHouseUnavailable(
            f"ClickHouse at {where} can't be reached or broke off: "
            f"{reason if isinstance(reason, str) else _reason(reason)}.",
            "Start it or correct its Connection (`clickhouse_http`, else `clickhouse_default`); the next attempt reads "
            "the same "
            "window.",
        )


def server_error(code: int, text: str, user: str) -> OffloadError:
    """The error for an exception with which ClickHouse answered, over either protocol.

    Args:
        code: ClickHouse's error code; 0: take it from the text.
        text: the server's message.
        user: the user that was logged in.
    """
    match = re.search(r"Code: (\d+)", text)
    code = code or int(match.group(1) if match else 0)
    reason = text.strip().split("\n")[0][:500]
    if code in _AUTHENTICATION_FAILED:
        return FixCredentials(
            f"ClickHouse refused user {user}: {reason}",
            "Correct user and password in its Connections (`clickhouse_default` and, if it exists, `clickhouse_http`).",
        )
    if code == _ACCESS_DENIED:
        return FixCredentials(
            f"ClickHouse does not let user {user} do that: {reason}", "Grant the rights that the message names."
        )
    if code in _BUSY:
        return ClickHouseUnavailable(
            f"ClickHouse can't do that now: {reason}",
            "The next attempt reads the same window. If this happens often, give ClickHouse more resources, or let the "
            "offload read less at once (`clickhouse_settings`, `max_rows_per_commit`, `fetch_parallelism`).",
        )
    if code in _NO_SUCH_TABLE_OR_DATABASE:
        return FixSource(
            f"ClickHouse has no such table: {reason}", "Correct `source` in the table's entry, or create the table."
        )
    if code in _NO_SUCH_COLUMN:
        return FixSource(f"ClickHouse has no such column: {reason}", "Correct the column's name in the table's entry.")
    return QueryFailed(
        f"ClickHouse answered with error {code}: {reason}",
        "Look the code up in ClickHouse's documentation; nothing was published.",
        code,
    )


# A profile that truncates results instead of failing would truncate count and rows alike, and nobody would notice.
_COMPLETE = {name: "throw" for name in ("read_overflow_mode", "result_overflow_mode", "timeout_overflow_mode")}
_JSON_SETTINGS = {
    "output_format_json_quote_64bit_integers": "1",
    "output_format_json_quote_decimals": "1",
    "wait_end_of_query": "1",
}


def _header(value: str) -> str:
    # urllib3 sends headers as Latin-1 and ClickHouse reads them as UTF-8.
    return value.encode().decode("latin-1")


def _escaped(value: str) -> str:
    # ClickHouse reads a parameter's value as one field of its tab-separated format.
    for raw, written in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\\0")):
        value = value.replace(raw, written)
    return value


def _reason(error: Exception) -> str:
    # A broken stream has its cause as the second argument.
    if isinstance(error, urllib3.exceptions.ProtocolError) and len(error.args) > 1:
        return str(error.args[1])
    # Other messages of urllib3 begin with the connection object's address, which means nothing to the reader.
    return str(error).rsplit(": ", 1)[-1] or type(error).__name__
