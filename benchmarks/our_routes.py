"""The offload's own routes: into an empty table, and into one that grows."""

from __future__ import annotations

import sys

from benchmarks.bench_stack import BenchStack
from benchmarks.loads import Load
from benchmarks.measure import Command
from benchmarks.route import Route, RouteJob
from offload_core.jobs import shared_jvm, spark_submit

_KEEP_SECONDS = 2
"""How long the shared application waits for another job.

Airflow's default is longer, and each round waits until the application has ended.
"""


class Ours(Route):
    """The offload's Spark job, into an empty table."""

    name = "ours"
    what = (
        "this package's Spark job: lock, window, files that ClickHouse encodes, audit on a branch, fenced publish, "
        "ledger"
    )
    is_peer = False

    def set_up(self, bench: BenchStack) -> None:
        """Do nothing: `make setup` has installed everything."""

    def prepare(self, bench: BenchStack, load: Load) -> RouteJob:
        """Create an empty table and its first watermark."""
        target = f"cold.{load.label}"
        table = load.table.model_copy(update={"target": target})
        bench.init(table)
        return RouteJob(bench.job(table, load.end), lambda: bench.metadata(target), lambda: bench.delete_files(target))


class Increment(Ours):
    """The offload's Spark job, into the shipped table with its existing rows."""

    def prepare(self, bench: BenchStack, load: Load) -> RouteJob:
        """Create nothing: the table grows from load to load."""
        return RouteJob(bench.job(load.table, load.end), lambda: bench.metadata(load.table.target), lambda: None)


class SharedIncrement(Ours):
    """The offload's Spark jobs as Airflow runs them on its worker.

    Tables share one application, which has to start for every load.
    """

    name = "ours-shared"
    what = (
        "the same as Airflow runs it on its own worker: the jobs share one Spark application, which has to start first"
    )

    def prepare(self, bench: BenchStack, load: Load) -> RouteJob:
        """Create this route's table for the first load, and wait until the previous load's application has ended."""
        table = load.table.model_copy(update={"target": f"{load.table.target}_shared"})
        if load.number == 0:
            bench.init(table)
        left_running = bench.left_running()
        left_running.wait_for_end()
        own = bench.job(table, load.end)
        application = str(spark_submit.application(bench.environ))
        program = [sys.executable, "-I", "-S", shared_jvm.__file__, str(_KEEP_SECONDS), application]
        command = Command([*program, *own.argv], own.environ)
        return RouteJob(command, lambda: bench.metadata(table.target), lambda: None, left_running)
