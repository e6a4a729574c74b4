"""The packets other than blocks, in this revision's format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from devstack.clickhouse_server.errors import ServerError
from devstack.clickhouse_server.native.wire import REVISION, FromServer, WireReader, number, text

_QUERY_KIND_NONE = 0
_WITH_CLIENT_INFO = 54032
_WITH_QUOTA_KEY = 54060
_WITH_VERSION_PATCH = 54401
_SETTINGS_AS_TEXT = 54429
_NAME = "ClickHouse"


@dataclass(frozen=True)
class Hello:
    """A client's HELLO packet."""

    client: str
    revision: int
    database: str
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Query:
    """A client's QUERY packet."""

    query_id: str
    settings: Mapping[str, str]
    compressed: bool
    sql: bytes


def read_hello(reader: WireReader) -> Hello:
    """Read a HELLO packet after its number."""
    client = reader.text()
    reader.number()  # the client's version: major, minor
    reader.number()
    revision = reader.number()
    return Hello(client, revision, reader.text(), reader.text(), reader.text())


def hello(version: str, timezone: str) -> bytes:
    """Return the server's HELLO packet."""
    major, minor, patch = (int(part) for part in version.split(".")[:3])
    name = number(FromServer.HELLO) + text(_NAME) + number(major) + number(minor) + number(REVISION)
    return name + text(timezone) + text("embedded") + number(patch)


def read_query(reader: WireReader, revision: int) -> Query:
    """Read a QUERY packet after its number.

    Args:
        reader: the connection.
        revision: the protocol revision of the connection.
    """
    query_id = reader.text()
    if revision >= _WITH_CLIENT_INFO:
        _skip_client_info(reader, revision)
    settings = {}
    while name := reader.text():
        reader.number()  # flags: important or custom, which change nothing here
        settings[name] = reader.text()
    reader.number()  # the stage: always complete from a client
    return Query(query_id, settings, compressed=bool(reader.number()), sql=reader.raw_text())


def exception(error: ServerError, version: str) -> bytes:
    """Return an EXCEPTION packet."""
    name = "DB::Exception"
    nested = number(0)
    body = error.code.to_bytes(4, "little", signed=True) + text(name) + text(error.text(version).partition(". ")[2])
    return number(FromServer.EXCEPTION) + body + text("") + nested


def progress(rows: int, read_bytes: int) -> bytes:
    """Return a PROGRESS packet with what was read; totals and written rows are unknown."""
    return number(FromServer.PROGRESS) + b"".join(map(number, (rows, read_bytes, 0, 0, 0)))


def supports(revision: int) -> bool:
    """Whether the server supports clients of this revision."""
    return revision >= _SETTINGS_AS_TEXT


def _skip_client_info(reader: WireReader, revision: int) -> None:
    if reader.byte() == _QUERY_KIND_NONE:
        return
    for _ in range(3):  # initial user, query id, address
        reader.raw_text()
    reader.byte()  # interface: TCP
    for _ in range(3):  # user of the system, host, name of the client
        reader.raw_text()
    for _ in range(3):  # version and revision
        reader.number()
    if revision >= _WITH_QUOTA_KEY:
        reader.raw_text()
    if revision >= _WITH_VERSION_PATCH:
        reader.number()
