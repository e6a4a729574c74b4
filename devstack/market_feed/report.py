"""The output of a command: progress while it works, and a summary at its end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@dataclass(frozen=True)
class Inserted:
    """The rows inserted into one exchange's table: their number, oldest and newest `exchange_timestamp` (UTC)."""

    rows: int
    oldest: datetime
    newest: datetime


class ExchangeSummary(TypedDict):
    rows: int
    oldest: str
    newest: str


class Summary(TypedDict):
    """The last line of `--json`; times are ISO 8601 with microseconds, in UTC."""

    command: str
    rows: int
    seconds: float
    exchanges: dict[str, ExchangeSummary]


def follow(batches: Iterable[tuple[str, pa.Table]], total: int | None) -> dict[str, Inserted]:
    """Consume `batches` and add them up by exchange; on a terminal, show the progress."""
    console = Console(stderr=True)
    done: dict[str, Inserted] = {}
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("trades"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("inserting", total=total)
        for exchange, batch in batches:
            done[exchange] = _add(done.get(exchange), batch)
            progress.update(task, advance=batch.num_rows, description=exchange)
    return done


def _add(so_far: Inserted | None, batch: pa.Table) -> Inserted:
    bounds = pc.min_max(batch["exchange_timestamp"]).as_py()
    oldest, newest = bounds["min"], bounds["max"]
    if so_far is None:
        return Inserted(batch.num_rows, oldest, newest)
    return Inserted(so_far.rows + batch.num_rows, min(so_far.oldest, oldest), max(so_far.newest, newest))


def summarize(command: str, inserted: dict[str, Inserted], started: float) -> Summary:
    """Return the summary of a command that started at `started` on the monotonic clock."""
    return {
        "command": command,
        "rows": sum(part.rows for part in inserted.values()),
        "seconds": round(time.monotonic() - started, 3),
        "exchanges": {
            name: {"rows": part.rows, "oldest": _iso(part.oldest), "newest": _iso(part.newest)}
            for name, part in inserted.items()
        },
    }


def show(summary: Summary, as_json: bool) -> None:
    """Print the summary to stdout: as sentences, or as one line of JSON."""
    if as_json:
        print(json.dumps(summary))
        return
    for exchange, part in summary["exchanges"].items():
        print(f"{exchange}: {part['rows']:,} trades from {part['oldest']} to {part['newest']}")
    print(f"{summary['rows']:,} trades inserted in {summary['seconds']:.1f} s")


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
