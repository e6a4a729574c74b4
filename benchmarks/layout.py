"""Compares layouts of data files: what writing them costs ClickHouse, and what typical reads of them cost.

`python -m benchmarks.layout files` compares settings of the Parquet files that ClickHouse writes, `… compaction` those
of compacted files, and `… load` how small queries slow down while ClickHouse encodes. Variants take turns within a run,
so that noise affects all of them alike; only ratios within one table are meaningful. The resulting decisions are in
docs/adr/0014 and docs/production.md.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.layout_cases import COMPACTIONS, FILES, LOADS, FetchVariant
from benchmarks.layout_load import COLUMNS, ProbeResult, cells, probe
from benchmarks.layout_tier import Reads, Written, hot_tier

RUNS_A_DAY = 96
app = typer.Typer(add_completion=False, help=__doc__)
Rows = Annotated[int, typer.Option(min=1000, help="Trades of one day.")]
Rounds = Annotated[int, typer.Option(min=1, help="Number of turns of every variant; medians are shown.")]
Only = Annotated[list[str] | None, typer.Option(help="Only these variants.")]
Variant = TypeVar("Variant")


@app.command()
def files(rows: Rows = 1_000_000, rounds: Rounds = 3, only: Only = None) -> None:
    """Compare files as ClickHouse writes them."""
    variants = _chosen(FILES, only)
    with hot_tier(rows) as hot:
        folders = {name: hot.folder(name) for name in variants}
        costs: dict[str, list[Written]] = {name: [] for name in variants}
        for number in range(rounds + 1):
            for name, fetch in variants.items():
                cost = hot.write(fetch, folders[name])
                if number:  # the first round warms the caches
                    costs[name].append(cost)
        medians = {name: [_median(one, field) for field in ("wall_s", "cpu_s", "mb")] for name, one in costs.items()}
        _show_writing(f"Files as ClickHouse writes them, {rows:,} rows", medians)
        _show_reading(hot.read(hot.register(folders), rounds))


@app.command()
def compaction(rows: Rows = 1_000_000, rounds: Rounds = 3, only: Only = None) -> None:
    """Compare files that Spark's compaction writes from a day of 96 runs."""
    variants = _chosen(COMPACTIONS, only)
    with hot_tier(rows) as hot:
        small = hot.folder("small")
        written = hot.write(FetchVariant(rows_per_file=-(-rows // RUNS_A_DAY)), small)
        request = {"files": str(small), "variants": {name: variant.as_dict() for name, variant in variants.items()}}
        compacted = hot.in_spark({"compact": request})["compact"]
        tables = {"not compacted": hot.register({"small": small})["small"]}
        costs = {name: [one["wall_s"], one["cpu_s"], one["mb"]] for name, one in compacted.items()}
        _show_writing(f"Compacted files, {rows:,} rows", {"not compacted": [0, 0, written.mb], **costs})
        _show_reading(hot.read(tables | {name: one["metadata"] for name, one in compacted.items()}, rounds))


@app.command()
def load(rows: Rows = 5_000_000, rounds: Rounds = 3, only: Only = None) -> None:
    """Compare the latency of small queries and inserts beside a large fetch."""
    variants = _chosen(LOADS, only)
    results: dict[str, list[ProbeResult]] = {name: [] for name in variants}
    with hot_tier(rows) as hot:
        for number in range(rounds + 1):
            for name, variant in variants.items():
                result = probe(hot, variant)
                if number:
                    results[name].append(result)
    _print(f"Beside a fetch of {rows:,} rows", COLUMNS, {name: cells(loads) for name, loads in results.items()})


def _chosen(variants: Mapping[str, Variant], only: Sequence[str] | None) -> dict[str, Variant]:
    unknown = set(only or ()) - set(variants)
    if unknown:
        raise typer.BadParameter(f"there is no variant {', '.join(sorted(unknown))}; choose from {', '.join(variants)}")
    return {name: value for name, value in variants.items() if not only or name in only}


def _median(costs: Sequence[Written], field: str) -> float:
    return float(statistics.median(getattr(cost, field) for cost in costs))


def _show_writing(title: str, costs: Mapping[str, Sequence[float]]) -> None:
    _print(title, ("wall s", "CPU s", "MB"), {name: [f"{value:.2f}" for value in cost] for name, cost in costs.items()})


def _show_reading(reads: Reads) -> None:
    """Show milliseconds by reader: one symbol's hour / a day / count by hour."""
    for kind, what in enumerate(("wall", "CPU")):
        lines = {
            name: [" / ".join(f"{one[kind] * 1000:.0f}" for one in named[name].values()) for named in reads.values()]
            for name in next(iter(reads.values()))
        }
        _print(f"Reading: {what} ms", tuple(reads), lines)


def _print(title: str, columns: Sequence[str], lines: Mapping[str, Sequence[str]]) -> None:
    table = Table("variant", *columns, title=title)
    for name, line in lines.items():
        table.add_row(name, *line)
    Console(width=180).print(table)


if __name__ == "__main__":
    app()
