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
from benchmarks.plan import Case, Measure, Plan
from benchmarks.results import Report, Result
from benchmarks.routes import EVERY_ROUTE
from install.layout import Layout

FOLDER = Path(__file__).parent


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    case: Annotated[list[str] | None, typer.Option(help=f"Which of {', '.join(CASES)}; default: all.")] = None,
    route: Annotated[list[str] | None, typer.Option(help=f"Which of {', '.join(EVERY_ROUTE)}; default: all.")] = None,
    runs: Annotated[int, typer.Option(min=1, max=20, help="Measured runs; the medians are reported.")] = 5,
    folder: Annotated[Path, typer.Option(help="Where the report is written.")] = FOLDER,
) -> None:
    """Measure the offload, and what a user could pick instead, on a stack of its own."""
    console = Console()
    chosen, routes = named(case, list(CASES), "case"), named(route, list(EVERY_ROUTE), "route")
    found = []
    with console.status("reading versions") as status:
        about = Report(machine(), versions(Layout.of_checkout()), [])
        plan = Plan(
            cases=tuple(chosen),
            routes=tuple(routes),
            runs=runs,
            measured_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            say=status.update if console.is_terminal else partial(console.print, style="dim", soft_wrap=True),
        )
        for result in measured(plan):
            found.append(result)
            console.print(_line(result), soft_wrap=True, markup=False)
            write(folder, about, [result])
    console.print(f"Written: {folder / 'report.md'}, {folder / 'report.json'}", soft_wrap=True)
    if any(result.route == "ours" and not result.parity for result in found):
        raise typer.Exit(1)


def named(asked: Sequence[str] | None, known: Sequence[str], what: str) -> list[str]:
    """Those of the known names that are asked for, in their order; all, where none is. Several may stand in one text, with commas.

    Raises:
        typer.BadParameter: there is none of such a name.
    """
    names = [name for text in asked or () for name in text.replace(",", " ").split()]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise typer.BadParameter(f"there is no {what} {', '.join(unknown)}; choose from {', '.join(known)}")
    return [name for name in known if name in names] if names else list(known)


def measured(plan: Plan) -> Iterator[Result]:
    """Measure what is asked for; cases that can be measured together are."""
    groups: dict[Measure, list[Case]] = {}
    for name in plan.cases:
        case = CASES[name]
        if case.routes_of(plan):
            groups.setdefault(case.measure, []).append(case)
    for measure, cases in groups.items():
        yield from measure(cases, plan)


def write(folder: Path, about: Report, new: Sequence[Result]) -> None:
    """Put new results into the report; those of other cases and routes stay, with their dates."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "report.json"
    order = [(case.name, route) for case in CASES.values() for route in case.routes]
    report = Report(about.machine, about.versions, Report.read(file).with_new(new, order))
    file.write_text(report.to_json())
    (folder / "report.md").write_text(render(report, CASES, {name: route.what for name, route in EVERY_ROUTE.items()}))


def _line(result: Result) -> str:
    if not result.runs:
        return f"{result.case}, {result.route}: fails: {result.note}"
    parity = "equal" if result.parity else f"ends with other values: {result.note}"
    return (
        f"{result.case}, {result.route}: {result.wall_s} s wall, {result.cpu_s} s CPU, {result.server_cpu_s} s CPU in the servers, "
        f"{result.peak_mb:.0f} MB, {result.rows:,} rows, {result.runs} runs, {parity}"
    )


if __name__ == "__main__":
    app()
