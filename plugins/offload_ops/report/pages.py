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
from offload_ops.report.attention import attention
from offload_ops.report.model import Report
from offload_ops.report.sections import Section, figures, sections
from offload_ops.text import clock

_WIDTH = 100


def as_html(report: Report, images: Mapping[str, str]) -> str:
    """One page that needs nothing else.

    Args:
        report: what to tell.
        images: the addresses of the pictures by name; a picture without one is left out.
    """
    return render(
        Path(__file__).parent,
        "report.html.j2",
        title=title(report),
        verdict=verdict(report),
        scope=scope(report),
        attention=attention(report),
        figures=figures(report),
        sections=sections(report),
        images=images,
    )


def as_file(report: Report, plots: Mapping[str, bytes]) -> str:
    """The page with its pictures inside, for a browser."""
    return as_html(
        report,
        {name: f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}" for name, png in plots.items()},
    )


def file_name(report: Report) -> str:
    """The name of the page's file: `iceberg-offload-2026-W47.html`."""
    return f"{report.pipeline}-{report.name}.html".replace("_", "-").replace(" ", "-").replace(":", "")


def write(path: Path, page: str) -> None:
    """Write a page, all of it or nothing; its folder is made if it is missing.

    Raises:
        FixConfiguration: there is no place for it.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(page, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise FixConfiguration(
            f"The report can't be written to {path}: {error.strerror or error}.",
            "Choose a folder that may be written to (the setting `report_folder`, or --out), and see that its disk has room.",
        ) from error


def as_text(report: Report) -> str:
    """The same words and figures for a terminal, or for a mail program that shows no HTML."""
    found = attention(report)
    lines = [title(report), scope(report), "", f"{verdict(report).capitalize()}{':' if found else '.'}"]
    for number, one in enumerate(found, start=1):
        lines += _wrapped(f"{number}. {one.finding}", "   ") + _wrapped(f"   -> {one.remedy}", "      ")
    lines.append("")
    told = figures(report)
    label, value = (max(len(getattr(figure, name)) for figure in told) for name in ("label", "value"))
    lines += [f"{figure.label:<{label}}  {figure.value:>{value}}  {figure.detail}" for figure in told]
    for section in sections(report):
        lines += ["", section.title.upper(), *_wrapped(section.note, ""), *_table(section)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def as_json_text(report: Report) -> str:
    """The unrounded figures for programs: durations in seconds, times in ISO 8601 (UTC)."""
    cycles = report.cycles
    fields = {
        "name": report.name,
        "attention": [dataclasses.asdict(one) for one in attention(report)],
        **dataclasses.asdict(report),
        "rows": report.rows,
        "late_rows": report.late_rows,
        "failed_attempts": report.failures,
        "in_time": report.in_time,
        "success_rate": cycles.success_rate if cycles else None,
        "uptime": cycles.uptime if cycles else None,
    }
    return json.dumps(fields, indent=2, default=_plain, allow_nan=False)


def title(report: Report) -> str:
    """The report's heading."""
    return f"Iceberg offload, {report.name}"


def subject(report: Report) -> str:
    """The subject of the report's mail: its heading and its verdict."""
    return f"{title(report)}: {verdict(report)}"


def scope(report: Report) -> str:
    """What the report is about, in a line."""
    start, end = report.period.start, report.period.end
    return f"{clock(start)} to {clock(end)} UTC, pipeline {report.pipeline}, made {clock(report.made_at)} UTC"


def verdict(report: Report) -> str:
    """All of it in a few words."""
    count = len(attention(report))
    return f"{count} {'thing needs' if count == 1 else 'things need'} attention" if count else "all is well"


def _table(section: Section) -> list[str]:
    if not section.rows:
        return [section.nothing]
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


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, LagMinutes):
        return value.model_dump()
    raise TypeError(f"{type(value).__name__} has no place in a report.")
