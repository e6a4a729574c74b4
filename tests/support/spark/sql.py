"""A Spark job of the tests that runs SQL for the client of a local socket until the client disconnects.

Argument: the socket's path.
"""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Listener

from offload_core.config.connections import load_connections
from offload_spark.runtime.session import start_session


def main() -> None:
    """Answer each statement with its rows as dictionaries, or with the text of the error."""
    session = start_session(load_connections(os.environ).iceberg)
    with Listener(sys.argv[1]) as listener, listener.accept() as peer:
        while True:
            try:
                statement = peer.recv()
            except EOFError:
                return
            try:
                peer.send([row.asDict() for row in session.sql(statement).collect()])
            except Exception as error:
                peer.send(str(error))


main()
