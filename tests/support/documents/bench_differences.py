"""Loads rows with rounded prices, and too few rows, and prints the benchmark's verdicts; for the devstack environment.

Usage: python -m tests.support.documents.bench_differences
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace

from benchmarks.bench_stack import BenchStack, bench_stack, yesterday
from benchmarks.loads import Load
from benchmarks.measure import run_at_once
from benchmarks.peer_routes import FLOOR
from benchmarks.window_cases import BRONZE, drop_silver_views


class RoundedLoad(Load):
    """A load with prices rounded to one decimal."""

    def exact_query(self, bench: BenchStack) -> str:
        query = super().exact_query(bench)
        if query.count("`price` AS") != 1:
            raise AssertionError(query)
        return query.replace("`price` AS", "toDecimal128(round(`price`, 1), 8) AS")


def main() -> None:
    """Print a list of verdicts: rounded prices, half of the rows, correct rows."""
    with bench_stack(airflow=False) as bench:
        drop_silver_views(bench)
        bench.feed(10_000, yesterday(6), yesterday(7), ["binance"])
        FLOOR.set_up(bench)
        load = Load(bench.table(BRONZE[0]), yesterday(5), yesterday(7), 10_000, 0)
        rounded = RoundedLoad(load.table, load.start, load.end, load.rows, 1)
        half = replace(load, end=yesterday(6.5), number=2)
        verdicts = []
        for loaded in (rounded, half, load):
            job = FLOOR.prepare(bench, loaded)
            run_at_once([job.command], bench.servers())
            verdicts.append(asdict(load.verdict(bench, job.metadata())))
    json.dump(verdicts, sys.stdout)


if __name__ == "__main__":
    main()
