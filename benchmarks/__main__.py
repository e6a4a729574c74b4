"""`make bench`: measure the cases and write `benchmarks/report.md` and `benchmarks/report.json`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.about import machine, versions
from benchmarks.cases import CASES
from benchmarks.markdown import render
from benchmarks.plan import BenchPlan, Case, Measure
from benchmarks.results import BenchReport, BenchResult
from benchmarks.routes import EVERY_ROUTE
from install.layout import Layout

FOLDER = Path(__file__).parent


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    case: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(CASES)}; default: all.")] = None,
    route: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(EVERY_ROUTE)}; default: all.")] = None,
    runs: Annotated[int, typer.Option(min=1, max=20, help="Measured runs; the medians are reported.")] = 5,
    folder: Annotated[Path, typer.Option(help="The folder of the report.")] = FOLDER,
) -> None:
    """Measure the offload, and the alternatives that a user could choose instead, on a temporary stack."""
    console = Console()
    chosen, routes = select_names(case, list(CASES), "case"), select_names(route, list(EVERY_ROUTE), "route")
    results = []
    with console.status("reading versions") as status:
        about = BenchReport(machine(), versions(Layout.of_checkout()), [])
        plan = BenchPlan(
            cases=tuple(chosen),
            routes=tuple(routes),
            runs=runs,
            measured_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            say=status.update if console.is_terminal else partial(console.print, style="dim", soft_wrap=True),
        )
        for result in measure_cases(plan):
            results.append(result)
            console.print(_line(result), soft_wrap=True, markup=False)
            write(folder, about, [result])
    console.print(f"Written: {folder / 'report.md'}, {folder / 'report.json'}", soft_wrap=True)
    if any(result.route == "ours" and not result.parity for result in results):
        raise typer.Exit(1)


def select_names(requested: Sequence[str] | None, known: Sequence[str], what: str) -> list[str]:
    """Return the requested names in the order of `known`; all of them if none is requested.

    One text may contain several names, separated by commas.

    Raises:
        typer.BadParameter: a requested name is unknown.
    """
    names = [name for text in requested or () for name in text.replace(",", " ").split()]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise typer.BadParameter(f"there is no {what} {', '.join(unknown)}; choose from {', '.join(known)}")
    return [name for name in known if name in names] if names else list(known)


def measure_cases(plan: BenchPlan) -> Iterator[BenchResult]:
    """Measure the requested cases, and those with the same measuring function together."""
    groups: dict[Measure, list[Case]] = {}
    for name in plan.cases:
        case = CASES[name]
        if case.routes_of(plan):
            groups.setdefault(case.measure, []).append(case)
    for measure, cases in groups.items():
        yield from measure(cases, plan)


def write(folder: Path, about: BenchReport, new: Sequence[BenchResult]) -> None:
    """Merge new results into the report; results of other cases and routes stay, with their dates."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "report.json"
    order = [(case.name, route) for case in CASES.values() for route in case.routes]
    report = BenchReport(about.machine, about.versions, BenchReport.read(file).with_new(new, order))
    file.write_text(report.to_json())
    (folder / "report.md").write_text(render(report, CASES, {name: route.what for name, route in EVERY_ROUTE.items()}))


def _line(result: BenchResult) -> str:
    if not result.runs:
        return f"{result.case}, {result.route}: fails: {result.note}"
    parity = "equal" if result.parity else f"ends with other values: {result.note}"
    return (
        f"{result.case}, {result.route}: {result.wall_s} s wall, {result.cpu_s} s CPU, "
        f"{result.server_cpu_s} s CPU in the servers, {result.peak_mb:.0f} MB, {result.rows:,} rows, "
        f"{result.runs} runs, {parity}"
    )


if __name__ == "__main__":
    app()
