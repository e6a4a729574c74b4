"""The offload's own route, into a fresh table and into one that grows."""

from __future__ import annotations

import sys

from benchmarks.bench_stack import BenchStack
from benchmarks.loads import Load
from benchmarks.measure import Command
from benchmarks.route import Job, Route
from offload_core.jobs import shared_jvm, spark_submit

_KEEP_SECONDS = 2
"""How long the shared application waits for another job: Airflow's default is longer, and each round would wait for its end."""


class Ours(Route):
    """The offload's Spark job, into a fresh table."""

    name = "ours"
    what = (
        "this package's Spark job: lock, window, files that ClickHouse encodes, audit on a branch, fenced publish, "
        "ledger"
    )
    is_peer = False

    def set_up(self, bench: BenchStack) -> None:
        """Nothing: `make setup` has done it."""

    def prepare(self, bench: BenchStack, load: Load) -> Job:
        """Make an empty table and its first watermark."""
        target = f"cold.{load.label}"
        table = load.table.model_copy(update={"target": target})
        bench.init(table)
        return Job(bench.job(table, load.end), lambda: bench.metadata(target), lambda: bench.delete_files(target))


class Increment(Ours):
    """The offload's Spark job, into the shipped table with everything that is there already."""

    def prepare(self, bench: BenchStack, load: Load) -> Job:
        """Nothing to make: the table grows from load to load."""
        return Job(bench.job(load.table, load.end), lambda: bench.metadata(load.table.target), lambda: None)


class SharedIncrement(Ours):
    """The offload's Spark jobs as Airflow runs them on its worker: tables share one application, which no load finds warm."""

    name = "ours-shared"
    what = "the same as Airflow runs it on its own worker: the jobs share one Spark application, which is not there yet"

    def prepare(self, bench: BenchStack, load: Load) -> Job:
        """Make a table of its own for the first load; it grows from load to load. Wait until the last load's application has ended."""
        table = load.table.model_copy(update={"target": f"{load.table.target}_shared"})
        if load.number == 0:
            bench.init(table)
        left = bench.left_running()
        left.wait_for_end()
        own = bench.job(table, load.end)
        application = str(spark_submit.application(bench.environ))
        program = [sys.executable, "-I", "-S", shared_jvm.__file__, str(_KEEP_SECONDS), application]
        command = Command([*program, *own.argv], own.environ)
        return Job(command, lambda: bench.metadata(table.target), lambda: None, left)
