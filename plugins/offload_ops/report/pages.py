"""A report as HTML, plain text and JSON."""

from __future__ import annotations

import base64
import dataclasses
import json
import textwrap
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from offload_core.config.lag import LagMinutes
from offload_core.errors import FixConfiguration
from offload_ops.html_mail import render
from offload_ops.report.issues import find_issues
from offload_ops.report.model import Report
from offload_ops.report.sections import Section, figures, sections
from offload_ops.text import clock

_WIDTH = 100
_JSON_NAMES = {"generated_at": "made_at", "maintenance": "upkeep"}


def as_html(report: Report, images: Mapping[str, str]) -> str:
    """The report as one HTML page.

    Args:
        report: the report.
        images: the addresses of the plots by name; a plot without one is left out.
    """
    return render(
        Path(__file__).parent,
        "report.html.j2",
        title=title(report),
        verdict=verdict(report),
        scope=scope(report),
        issues=find_issues(report),
        figures=figures(report),
        sections=sections(report),
        images=images,
    )


def as_file(report: Report, plots: Mapping[str, bytes]) -> str:
    """The page with its plots inside, for a browser."""
    return as_html(
        report,
        {name: f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}" for name, png in plots.items()},
    )


def file_name(report: Report) -> str:
    """The name of the page's file: `iceberg-offload-2026-W47.html`."""
    return f"{report.pipeline}-{report.name}.html".replace("_", "-").replace(" ", "-").replace(":", "")


def write(path: Path, page: str) -> None:
    """Write a page, completely or not at all; its folder is created if it is missing.

    Raises:
        FixConfiguration: the file can't be written.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(page, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise FixConfiguration(
            f"The report can't be written to {path}: {error.strerror or error}.",
            "Choose a writable folder (the setting `report_folder`, or --out), and check that its disk has room.",
        ) from error


def as_text(report: Report) -> str:
    """The report as plain text, for a terminal or for a mail program that shows no HTML."""
    issues = find_issues(report)
    lines = [title(report), scope(report), "", f"{verdict(report).capitalize()}{':' if issues else '.'}"]
    for number, issue in enumerate(issues, start=1):
        lines += _wrapped(f"{number}. {issue.finding}", "   ") + _wrapped(f"   -> {issue.remedy}", "      ")
    lines.append("")
    top = figures(report)
    label, value = (max(len(getattr(figure, name)) for figure in top) for name in ("label", "value"))
    lines += [f"{figure.label:<{label}}  {figure.value:>{value}}  {figure.detail}" for figure in top]
    for section in sections(report):
        lines += ["", section.title.upper(), *_wrapped(section.note, ""), *_table(section)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def as_json_text(report: Report) -> str:
    """The report as JSON, with exact figures: durations in seconds, times in ISO 8601 (UTC)."""
    cycles = report.cycles
    fields = {
        "name": report.name,
        "attention": [dataclasses.asdict(issue) for issue in find_issues(report)],
        **_report_fields(report),
        "rows": report.rows,
        "late_rows": report.late_rows,
        "failed_attempts": report.failures,
        "in_time": report.in_time,
        "success_rate": cycles.success_rate if cycles else None,
        "uptime": cycles.uptime if cycles else None,
    }
    return json.dumps(fields, indent=2, default=_json_value, allow_nan=False)


def _report_fields(report: Report) -> dict[str, Any]:
    """The report's attributes, under the names that programs know: some attributes have been renamed since."""
    fields = {_JSON_NAMES.get(name, name): value for name, value in dataclasses.asdict(report).items()}
    fields["upkeep"] = {"audits": fields["upkeep"]["audits"], "maintenance": fields["upkeep"]["runs"]}
    for table in fields["tables"]:
        if table["halt"] is not None:
            table["halt"] = {"since": table["halt"]["since"], "why": table["halt"]["reason"]}
    return fields


def title(report: Report) -> str:
    """The heading of the report."""
    return f"Iceberg offload, {report.name}"


def subject(report: Report) -> str:
    """The subject of the mail: heading and verdict."""
    return f"{title(report)}: {verdict(report)}"


def scope(report: Report) -> str:
    """The period, the pipeline and the time of the report, in one line."""
    start, end = report.period.start, report.period.end
    return f"{clock(start)} to {clock(end)} UTC, pipeline {report.pipeline}, generated {clock(report.generated_at)} UTC"


def verdict(report: Report) -> str:
    """The result in a few words."""
    number = len(find_issues(report))
    return f"{number} {'thing needs' if number == 1 else 'things need'} attention" if number else "all is well"


def _table(section: Section) -> list[str]:
    if not section.rows:
        return [section.empty_text]
    rows = [tuple(column.title for column in section.columns), *section.rows]
    widths = [max(len(row[number]) for row in rows) for number in range(len(section.columns))]
    lines = []
    for row in rows:
        cells = zip(row, widths, section.columns, strict=True)
        lines.append(
            "  ".join(f"{text:>{width}}" if column.is_figure else f"{text:<{width}}" for text, width, column in cells)
        )
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent, break_long_words=False)


def _json_value(value: object) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, LagMinutes):
        return value.model_dump()
    raise TypeError(f"{type(value).__name__} cannot be part of a report.")
