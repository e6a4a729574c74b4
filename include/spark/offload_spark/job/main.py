"""The entry point of the job: parses its arguments and reports its outcome."""

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
    """Run the job. Returns the exit code of `run_and_report`."""

    def offload() -> None:
        arguments = parse(argv)
        run(arguments, load_connections(os.environ))

    return run_and_report(offload)


def run_and_report(work: Callable[[], None]) -> int:
    """Do the work and log how it ended, for people and for Airflow.

    Returns:
        0 after success, else the exit code that `offload_core.jobs.outcome` assigns to the error.
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
