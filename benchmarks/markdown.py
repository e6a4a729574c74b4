"""The report for people: `report.md`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from benchmarks.plan import Case
from benchmarks.results import Report, Result
from benchmarks.targets import targets

_COLUMNS = (
    "route", "rows", "runs", "wall s", "to ours", "CPU s", "servers' CPU s", "rows/s", "rows per CPU s", "peak MB", "tables",
)  # fmt: skip
_VERDICTS = {True: "reached", False: "NOT REACHED", None: "not known"}


def render(report: Report, cases: Mapping[str, Case], routes: Mapping[str, str]) -> str:
    """The whole report as Markdown.

    Args:
        report: what was measured.
        cases: the cases by name, in their order.
        routes: what each route is, by name.
    """
    lines = ["# Benchmarks", ""]
    lines += [f"{', '.join(f'{key} {value}' for key, value in report.machine.items())}.", ""]
    lines += [f"{', '.join(f'{key} {value}' for key, value in report.versions.items())}.", ""]
    lines += [
        "Medians. CPU seconds are those of the route's processes and, beside them, of ClickHouse and PostgreSQL; "
        "rows per CPU second count both. Memory is that of everything but the two servers. "
        "[README.md](README.md) says how all this is measured.",
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


def _targets(report: Report) -> list[str]:
    known = {(result.case, result.route): result for result in report.results}
    lines = ["| case | wanted | found | |", "|---|---|---|---|"]
    for target in targets(known):
        lines.append(f"| {target.case} | {target.wanted} | {target.found} | {_VERDICTS[target.reached]} |")
    return [*lines, ""]


def _table(results: Sequence[Result]) -> list[str]:
    ours = next((result for result in results if result.route == "ours"), None)
    lines = [f"| {' | '.join(_COLUMNS)} |", "|---|" + "---:|" * (len(_COLUMNS) - 2) + "---|"]
    lines += [f"| {' | '.join(_cells(result, ours))} |" for result in results]
    dates = sorted({result.measured_at for result in results})
    told = ", ".join(f"{datetime.fromisoformat(date):%Y-%m-%d %H:%M} UTC" for date in dates)
    if len(dates) == 1:
        return [*lines, "", f"Measured {told}."]
    return [*lines, "", f"Measured in several runs, which may not be compared: {told}."]


def _cells(result: Result, ours: Result | None) -> list[str]:
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
