"""`make bench`: run the cases and write `benchmarks/report.md` and `benchmarks/report.json`."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console

from benchmarks.cases import CASES
from benchmarks.measure import Measurement

FOLDER = Path(__file__).parent
_COLUMNS = ("case", "route", "rows", "runs", "wall_s", "cpu_s", "server_cpu_s", "peak_mb", "parity")


def main(
    case: Annotated[list[str] | None, typer.Option(help=f"Which of {', '.join(CASES)}; default: all.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Measured runs of each case; the medians are reported.")] = 5,
) -> None:
    """Measure the offload on a stack of its own."""
    console = Console()
    unknown = [name for name in case or () if name not in CASES]
    if unknown:
        raise typer.BadParameter(f"there is no case {', '.join(unknown)}; choose from {', '.join(CASES)}")
    found = []
    for name in case or CASES:
        with console.status(f"{name}: {runs} runs …"):
            found.append(CASES[name](runs))
        console.print(_line(found[-1]))
    _write(found)
    console.print(f"Written: {FOLDER / 'report.md'}, {FOLDER / 'report.json'}", soft_wrap=True)
    if not all(measurement.parity for measurement in found):
        raise typer.Exit(1)


def _line(found: Measurement) -> str:
    parity = "equal" if found.parity else "DIFFERENT"
    return (
        f"{found.case}: {found.wall_s} s wall, {found.cpu_s} s CPU, {found.server_cpu_s} s CPU in the servers, "
        f"{found.peak_mb:.0f} MB, {found.rows:,} rows, {parity}"
    )


def _machine() -> dict[str, object]:
    memory = round(psutil.virtual_memory().total / 2**30)
    return {
        "cores": os.cpu_count(),
        "memory_gib": memory,
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _write(found: Sequence[Measurement]) -> None:
    rows = [measurement.as_dict() for measurement in found]
    (FOLDER / "report.json").write_text(json.dumps({"machine": _machine(), "results": rows}, indent=1) + "\n")
    lines = ["# Benchmarks", "", f"Medians; {', '.join(f'{key} {value}' for key, value in _machine().items())}.", ""]
    lines += [f"| {' | '.join(_COLUMNS)} |", "|" + "---|" * len(_COLUMNS)]
    lines += [f"| {' | '.join(str(row[name]) for name in _COLUMNS)} |" for row in rows]
    (FOLDER / "report.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)
