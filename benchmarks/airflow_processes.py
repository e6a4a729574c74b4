"""The processes of a stack's Airflow, and of what its tasks leave running."""

from __future__ import annotations

import time

import psutil

from benchmarks.bench_stack import BenchStack
from benchmarks.measure import CommandFailed
from embedded.stack import SERVERS

_PATIENCE_SECONDS = 120.0


class AirflowProcesses:
    """Everything that runs for a stack besides ClickHouse and PostgreSQL.

    Args:
        bench: a stack whose Airflow is up.
    """

    def __init__(self, bench: BenchStack) -> None:
        parts = [(part.name, psutil.Process(part.pid)) for part in bench.stack.status() if part.pid]
        self._all = [process for _, process in parts]
        self._airflow = [process for name, process in parts if name not in SERVERS]
        self._home = str(bench.layout.home)

    def __call__(self) -> list[psutil.Process]:
        """Airflow's scheduler, whose descendants run the tasks, its web interface, the exporter, and what has left their trees."""
        return [*self._airflow, *self._left_running()]

    def wait_until_alone(self) -> None:
        """Wait until nothing that tasks have left running is there any more, as it is a quarter of an hour later.

        Raises:
            CommandFailed: it stays.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while left := self._left_running():
            if time.monotonic() > deadline:
                raise CommandFailed(
                    f"after {_PATIENCE_SECONDS:g} seconds there still runs {' '.join(left[0].cmdline())}"
                )
            time.sleep(0.5)

    def _left_running(self) -> list[psutil.Process]:
        """What tasks leave for the next ones, such as a Spark application that tables share: on its command line is the stack's folder."""
        trees = {member.pid for root in self._all for member in [root, *root.children(recursive=True)]}
        left = {
            process.pid: process
            for process in psutil.process_iter(["ppid", "cmdline"])
            if process.pid not in trees and any(self._home in argument for argument in process.info["cmdline"] or ())
        }
        return [process for process in left.values() if process.info["ppid"] not in trees | left.keys()]
