"""A Spark driver of the tests that runs jobs one after another in one process, for the client of a local socket.

Argument: the socket's path. A request is a pair: `run` with the command lines of offload jobs, which run at once,
`maintain` with the command line of a maintenance, or `sql` with a statement.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from multiprocessing.connection import Listener

from offload_core.config.connections import Connections, load_connections
from offload_core.errors import OffloadError
from offload_core.jobs.arguments import parse
from offload_spark.job.job import run
from offload_spark.maintenance.job import maintain
from offload_spark.runtime.session import start_session


def answer(request: tuple[str, object], connections: Connections) -> object:
    """The rows that each run published, the measurements after a maintenance, or a statement's rows."""
    match request:
        case "run", list() as jobs:
            with ThreadPoolExecutor(len(jobs)) as pool:
                return [result.rows for result in pool.map(lambda argv: run(parse(argv), connections), jobs)]
        case "maintain", list() as argv:
            return maintain(parse(argv), connections, datetime.now(timezone.utc)).after
        case "sql", str() as statement:
            return [row.asDict() for row in start_session(connections.iceberg).sql(statement).collect()]
    raise AssertionError(request)


def main() -> None:
    """Answer each request."""
    connections = load_connections(os.environ)
    with Listener(sys.argv[1]) as listener, listener.accept() as peer:
        while True:
            try:
                request = peer.recv()
            except EOFError:
                return
            try:
                peer.send(answer(request, connections))
            except OffloadError as error:
                peer.send((error.kind, str(error)))
            except Exception as error:
                peer.send(("unexpected", repr(error)))


main()
