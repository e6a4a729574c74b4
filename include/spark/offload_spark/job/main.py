"""The job's outer shell: arguments in, exit status and log lines out."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence

from offload_core.config.connections import load_connections
from offload_core.errors import OffloadError
from offload_core.jobs.arguments import parse
from offload_core.jobs.outcome import ReportedError
from offload_spark.job.job import run

log = logging.getLogger("offload")


def main(argv: Sequence[str]) -> int:
    """Run the job; the exit status is that of `guarded`."""

    def offload() -> None:
        arguments = parse(argv)
        run(arguments, load_connections(os.environ))

    return guarded(offload)


def guarded(work: Callable[[], None]) -> int:
    """Do the work and tell how it ended, for people and for the operator in Airflow.

    Returns:
        0 after success, else the exit code that `job_outcome` gives the error.
    """
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    try:
        work()
    except OffloadError as error:
        report = ReportedError.of(error)
        log.error("✗ Offload failed: %s", error)
        log.error("%s", report.to_line())
        return report.exit_code
    return 0
