"""`python -m monitoring.exporter`: serves the metrics until SIGTERM. `settings` lists the environment variables.

`--socket FD` takes over a listening socket from the calling program instead of opening one.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence

from monitoring.exporter.server import server
from monitoring.exporter.settings import load_settings
from offload_core.errors import OffloadError

log = logging.getLogger("offload.exporter")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT. If it can't start, log what to do and return exit status 2."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(prog="python -m monitoring.exporter", description=__doc__)
    parser.add_argument("--socket", type=int, metavar="FD", help="file descriptor of a listening socket")
    given = parser.parse_args(arguments)
    try:
        settings = load_settings(os.environ)
    except OffloadError as error:
        log.error("%s", error)
        return 2
    listening = None if given.socket is None else socket.socket(fileno=given.socket)
    try:
        running = server(settings, listening)
    except OSError as error:
        log.error(
            "The exporter can't listen on %s:%s: %s. "
            "Set OFFLOAD_PORT_EXPORTER to a free port, and let Prometheus scrape that one.",
            settings.address,
            settings.port,
            error.strerror or error,
        )
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        # In a thread of its own: the handler runs in the serving thread, for which `shutdown` would wait forever.
        signal.signal(number, lambda *_: threading.Thread(target=running.shutdown, daemon=True).start())
    log.info("Metrics of %s: http://%s:%s/metrics", settings.pipeline, settings.address, running.server_port)
    with running:
        running.serve_forever(poll_interval=0.2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
