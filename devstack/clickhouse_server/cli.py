"""The command that runs the server."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from devstack.clickhouse_server.auth import Credentials
from devstack.clickhouse_server.errors import InUseError, ServerError

_log = logging.getLogger("devstack.clickhouse_server")
_GRACE_SECONDS = 2.0
_KILL_SECONDS = 5.0
_MAX_URL = 1 << 20
_DEFAULT_MEMORY = 4 << 30


@dataclass(frozen=True)
class Options:
    """The command's options; port 0 means any free port, memory is in bytes."""

    path: Path
    host: str
    http_port: int
    native_port: int
    credentials: Credentials
    database: str
    max_memory: int
    ready_file: Path | None


def main(arguments: Sequence[str]) -> int:
    """Run the server until SIGTERM or SIGINT, then end the process with status 0, or 1 if the server cannot start.

    Returns:
        Never: the function ends the process itself.
    """
    # The zone of all times without one, on every machine; the engine reads it only from this variable.
    os.environ["TZ"] = "UTC"
    time.tzset()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    options = _options(arguments)
    try:
        asyncio.run(_serve(options))
    except (InUseError, ServerError) as error:
        print(f"ClickHouse does not start: {error}", file=sys.stderr)
        status = 1
    else:
        status = 0
    logging.shutdown()
    sys.stderr.flush()
    # The engine's own teardown at interpreter exit crashes. Acknowledged rows are already on disk.
    os._exit(status)


async def _serve(options: Options) -> None:
    # Imported here, because loading the engine takes a second, which --help or a wrong option should not cost.
    from devstack.clickhouse_server.engine import Engine
    from devstack.clickhouse_server.http.app import application
    from devstack.clickhouse_server.native.server import NativeServer

    # The engine keeps three files open per thread.
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    engine = Engine(options.path, options.database, options.max_memory)
    if options.ready_file:
        options.ready_file.unlink(missing_ok=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        application(engine, options.credentials),
        handler_cancellation=True,
        auto_decompress=False,
        access_log=None,
        shutdown_timeout=_GRACE_SECONDS,
        max_line_size=_MAX_URL,
        max_field_size=_MAX_URL,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, options.host, options.http_port)
        await site.start()
        native = NativeServer(engine, options.credentials, options.host, options.native_port)
    except OSError as error:
        await runner.cleanup()
        raise InUseError(
            f"{error.strerror or error}. Stop the program that listens there, or choose another port."
        ) from error
    native.start()
    http_port = runner.addresses[0][1]
    _log.info("ClickHouse %s on %s: HTTP port %d, native port %d", engine.version, options.host, http_port, native.port)
    if options.ready_file:
        _write_ready(options.ready_file, http_port, native.port)
    await stop.wait()
    _log.info("Stopping")
    if options.ready_file:
        options.ready_file.unlink(missing_ok=True)
    await site.stop()
    native.close()
    # Acknowledged rows are already in files: only the running queries remain.
    if not await asyncio.to_thread(engine.queries.close, _GRACE_SECONDS, _KILL_SECONDS):
        _log.warning("Queries are still running after %g seconds; they end with the process", _KILL_SECONDS)
    await runner.cleanup()
    _log.info("Stopped")


def _write_ready(file: Path, http_port: int, native_port: int) -> None:
    """Write the file atomically, because another process waits for it."""
    new = file.with_name(file.name + ".new")
    new.write_text(json.dumps({"pid": os.getpid(), "http_port": http_port, "native_port": native_port}) + "\n")
    new.replace(file)


def _options(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(prog="python -m devstack.clickhouse_server", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="data folder; one server at a time")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--http-port", type=int, default=8123, help="0: any free port (default: %(default)s)")
    parser.add_argument("--native-port", type=int, default=9000, help="0: any free port (default: %(default)s)")
    parser.add_argument("--user", default="default", help="the only user (default: %(default)s)")
    parser.add_argument(
        "--password-file", type=Path, help="its first line is the password; default: CLICKHOUSE_PASSWORD"
    )
    parser.add_argument(
        "--database", default="default", help="default database, created if missing (default: %(default)s)"
    )
    parser.add_argument(
        "--max-memory", type=int, default=_DEFAULT_MEMORY, help="bytes for all queries (default: 4 GiB)"
    )
    parser.add_argument("--ready-file", type=Path, help="written when the server answers: JSON with pid and ports")
    parsed = parser.parse_args(arguments)
    return Options(
        path=parsed.path.absolute(),
        host=parsed.host,
        http_port=parsed.http_port,
        native_port=parsed.native_port,
        credentials=Credentials(parsed.user, _password(parser, parsed.password_file)),
        database=parsed.database,
        max_memory=parsed.max_memory,
        ready_file=parsed.ready_file.absolute() if parsed.ready_file else None,
    )


def _password(parser: argparse.ArgumentParser, file: Path | None) -> str:
    if file is None:
        password = os.environ.pop("CLICKHOUSE_PASSWORD", "")
    else:
        try:
            password = file.read_text().partition("\n")[0].rstrip("\r")
        except OSError as error:
            parser.error(f"cannot read the password file: {error}")
    if not password:
        parser.error("there is no password: set --password-file or CLICKHOUSE_PASSWORD")
    return password
