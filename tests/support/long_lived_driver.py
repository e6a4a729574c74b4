"""Runs offload jobs one after another in one process, for whoever connects to a local socket: a Spark driver of the tests.

Argument: the socket's path. A request is the name of one of the jobs and its command line.
"""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Listener

from offload_core.connections import load_connections
from offload_core.errors import OffloadError
from offload_core.job_arguments import parse
from offload_spark.job import run


def main() -> None:
    """Answer each request with how many rows it published, or with its error's kind and text."""
    connections = load_connections(os.environ)
    with Listener(sys.argv[1]) as listener, listener.accept() as peer:
        while True:
            try:
                argv = peer.recv()
            except EOFError:
                return
            try:
                peer.send(run(parse(argv), connections).rows)
            except OffloadError as error:
                peer.send((error.kind, str(error)))


main()
