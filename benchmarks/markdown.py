"""Renders the report for people, `report.md`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from benchmarks.plan import Case
from benchmarks.results import BenchReport, BenchResult
from benchmarks.targets import targets

_COLUMNS = (
    *("route", "rows", "runs", "wall s", "to ours", "CPU s", "servers' CPU s"),
    *("rows/s", "rows per CPU s", "peak MB", "tables"),
)
_TARGET_STATES = {True: "reached", False: "NOT REACHED", None: "unknown"}


def render(report: BenchReport, cases: Mapping[str, Case], routes: Mapping[str, str]) -> str:
    """Return the whole report as Markdown.

    Args:
        report: the results.
        cases: the cases by name, in order.
        routes: the descriptions of the routes by name.
    """
    lines = ["# Benchmarks", ""]
    lines += [f"{', '.join(f'{key} {value}' for key, value in report.machine.items())}.", ""]
    lines += [f"{', '.join(f'{key} {value}' for key, value in report.versions.items())}.", ""]
    lines += [
        "Medians. CPU seconds are those of the route's processes and, separately, of ClickHouse and PostgreSQL; "
        "rows per CPU second count both. Memory is that of everything except the two servers. "
        "[README.md](README.md) describes how this is measured.",
        "",
    ]
    lines += _targets(report)
    for name, case in cases.items():
        results = [result for result in report.results if result.case == name]
        if results:
            lines += [f"## {name}", "", f"{case.what[0].upper()}{case.what[1:]}.", "", *_table(results), ""]
    lines += ["## Routes", ""]
    lines += [f"- `{name}`: {what}." for name, what in routes.items()]
    return "\n".join(lines) + "\n"


def _targets(report: BenchReport) -> list[str]:
    known = {(result.case, result.route): result for result in report.results}
    lines = ["| case | target | result | |", "|---|---|---|---|"]
    for target in targets(known):
        lines.append(f"| {target.case} | {target.target} | {target.result} | {_TARGET_STATES[target.reached]} |")
    return [*lines, ""]


def _table(results: Sequence[BenchResult]) -> list[str]:
    ours = next((result for result in results if result.route == "ours"), None)
    lines = [f"| {' | '.join(_COLUMNS)} |", "|---|" + "---:|" * (len(_COLUMNS) - 2) + "---|"]
    lines += [f"| {' | '.join(_cells(result, ours))} |" for result in results]
    dates = sorted({result.measured_at for result in results})
    times = ", ".join(f"{datetime.fromisoformat(date):%Y-%m-%d %H:%M} UTC" for date in dates)
    if len(dates) == 1:
        return [*lines, "", f"Measured {times}."]
    return [*lines, "", f"Measured in several runs, which must not be compared: {times}."]


def _cells(result: BenchResult, ours: BenchResult | None) -> list[str]:
    rows = f"{result.rows:,}" if result.rows else "-"
    if not result.runs:
        nothing = ["-"] * (len(_COLUMNS) - 4)
        return [result.route, rows, "0", *nothing, f"fails: {_escaped(result.note)}"]
    comparable = ours is not None and ours.measured_at == result.measured_at and ours.wall_s and result.wall_s
    ratio = f"{result.wall_s / ours.wall_s:.2f}" if comparable and ours and ours.wall_s and result.wall_s else "-"
    return [
        result.route,
        rows,
        str(result.runs),
        f"{result.wall_s:.2f}",
        ratio,
        f"{result.cpu_s:.2f}",
        f"{result.server_cpu_s:.2f}",
        f"{result.rows_per_s:,.0f}" if result.rows_per_s else "-",
        f"{result.rows_per_cpu_s:,.0f}" if result.rows_per_cpu_s else "-",
        f"{result.peak_mb:,.0f}",
        "equal" if result.parity else f"ends with other values: {_escaped(result.note)}",
    ]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
