"""The offload's own route, into a fresh table and into one that grows."""

from __future__ import annotations

from benchmarks.bench_stack import BenchStack
from benchmarks.loads import Load
from benchmarks.route import Job, Route


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
