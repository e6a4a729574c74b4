"""The report's plots. None depends on color alone: lines have panels of their own, bars have hatches and names.

This module imports matplotlib, which is slow. Import it where a report is created, not where a DAG is parsed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime, timedelta

from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from offload_core.config.lag import LagLevel
from offload_ops.report.lag import HOUR
from offload_ops.report.model import Report, TableReport
from offload_ops.report.sections import LAG, LATE_ROWS, ROWS
from offload_ops.text import amount, duration

_WIDTH, _DOTS = 6.0, 200
"""Inches and dots per inch: 1,200 pixels, shown at a width of 680, so that print and dense screens are sharp."""
_COLUMNS = 3
_INK, _FAINT = "#1f2933", "#9aa5b1"
# Distinct for every kind of color vision (Okabe and Ito), and hatches distinguish the bars as well.
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7f7f7f", "#44546a")
_HATCHES = ("", "//", "..", "\\\\", "xx", "--", "oo", "++", "||")
_WIDE_BARS = 10
"""With up to this many days, a bar has room for its number."""
_LINEAR_UP_TO = timedelta(minutes=90)
_LOWEST = timedelta(minutes=5)
"""Of the logarithmic scale: with a run every 15 minutes, the longest lag of each hour is longer."""
_TICKS = [timedelta(minutes=minutes) for minutes in (5, 15, 30, 60, 240, 1440, 10080)]


def plots(report: Report) -> dict[str, bytes]:
    """The plots by name, as PNG; those without data are left out."""
    drawn = {LAG: _lag(report), ROWS: _rows(report), LATE_ROWS: _late_rows(report)}
    return {name: _png(figure) for name, figure in drawn.items() if figure is not None}


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", backend="agg", metadata={"Software": None})
    return file.getvalue()


def _figure(height: float) -> Figure:
    return Figure(figsize=(_WIDTH, height), dpi=_DOTS, layout="constrained", facecolor="white")


def _lag(report: Report) -> Figure | None:
    """A small panel per table, all with the same axes."""
    known = [table for table in report.tables if table.freshness is not None]
    if not known:
        return None
    lines = -(-len(known) // _COLUMNS)
    figure = _figure(0.3 + 1.25 * lines)
    panels = figure.subplots(lines, _COLUMNS, sharex=True, sharey=True, squeeze=False)
    for panel, table in zip(panels.flat, known, strict=False):
        _lag_panel(panel, table, report)
    for panel in panels.flat[len(known) :]:
        panel.set_visible(False)
        panel.set_in_layout(False)
    _lag_axis(panels[0, 0], max(_longest(table) for table in known))
    # A panel without another one below it shows the days itself.
    for panel in panels.flat[max(len(known) - _COLUMNS, 0) : len(known)]:
        panel.tick_params(labelbottom=True)
    figure.supxlabel("day of the month (UTC)", fontsize=7, color=_INK)
    figure.supylabel("longest lag in the hour", fontsize=7, color=_INK)
    return figure


def _longest(table: TableReport) -> timedelta:
    return table.freshness.longest if table.freshness else timedelta()


def _lag_panel(panel: Axes, table: TableReport, report: Report) -> None:
    assert table.freshness is not None  # noqa: S101 - others are not drawn
    hours = [report.period.start + number * HOUR for number in range(len(table.freshness.by_hour))]
    minutes = [float("nan") if lag is None else lag / timedelta(minutes=1) for lag in table.freshness.by_hour]
    panel.plot(date2num(hours), minutes, color=_COLORS[0], linewidth=0.9)
    for level, style in ((LagLevel.WARNING, ":"), (LagLevel.CRITICAL, "--")):
        bound = report.bounds.bound(level)
        panel.axhline(bound / timedelta(minutes=1), color=_INK, linewidth=0.7, linestyle=style)
        panel.annotate(
            duration(bound),
            (1, bound / timedelta(minutes=1)),
            xycoords=("axes fraction", "data"),
            xytext=(-1, 1),
            textcoords="offset points",
            ha="right",
            fontsize=6,
            color=_INK,
        )
    panel.set_title(table.table, fontsize=7, color=_INK, loc="left", pad=3)
    panel.set_xlim(float(date2num(report.period.start)), float(date2num(report.period.end)))
    _time_axis(panel, report)
    _plain(panel)


def _lag_axis(panel: Axes, longest: timedelta) -> None:
    """Minutes from zero; after an outage a logarithmic scale, on which 20 and 30 minutes are still distinct."""
    top = max(longest * 1.1, timedelta(minutes=40)) / timedelta(minutes=1)
    if longest <= _LINEAR_UP_TO:
        panel.set_ylim(0, top)
        panel.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} min"))
        return
    panel.set_yscale("log")
    panel.set_ylim(_LOWEST / timedelta(minutes=1), top * 1.2)
    panel.yaxis.set_major_locator(FixedLocator([tick / timedelta(minutes=1) for tick in _TICKS]))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(timedelta(minutes=value))))


def _rows(report: Report) -> Figure | None:
    """A bar per day, stacked by table."""
    shown = [table for table in report.tables if table.rows]
    if not shown:
        return None
    figure = _figure(2.9)
    panel = figure.subplots()
    days = [day.day for day in report.days]
    bottoms = [0] * len(days)
    for number, table in enumerate(shown):
        color, hatch = _COLORS[number % len(_COLORS)], _HATCHES[number % len(_HATCHES)]
        panel.bar(
            range(len(days)),
            table.rows_by_day,
            bottom=bottoms,
            width=0.7,
            label=table.table,
            color=color,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.4,
        )
        bottoms = [below + rows for below, rows in zip(bottoms, table.rows_by_day, strict=True)]
    for number, total in enumerate(bottoms if len(days) <= _WIDE_BARS else []):
        panel.annotate(
            _short(total),
            (number, total),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=6.5,
            color=_INK,
        )
    _day_axis(panel, days)
    panel.margins(y=0.12)
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(int(value))))
    panel.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    panel.set_ylabel("rows", fontsize=7, color=_INK)
    # Reversed, so that the legend has the order of the stacked bars.
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(
        handles[::-1],
        labels[::-1],
        loc="outside right upper",
        fontsize=6.5,
        frameon=False,
        handleheight=1.2,
        labelcolor=_INK,
    )
    _plain(panel)
    return figure


def _late_rows(report: Report) -> Figure | None:
    """A bar per table that had late rows."""
    late = [table for table in report.tables if table.late_rows]
    if not late:
        return None
    figure = _figure(0.55 + 0.26 * len(late))
    panel = figure.subplots()
    bars = panel.barh(
        [table.table for table in late], [table.late_rows for table in late], height=0.6, color=_COLORS[0]
    )
    panel.bar_label(bars, [amount(table.late_rows) for table in late], padding=3, fontsize=7, color=_INK)
    panel.invert_yaxis()
    panel.margins(x=0.12)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(int(value))))
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    panel.set_xlabel("late rows", fontsize=7, color=_INK)
    _plain(panel)
    return figure


def _time_axis(panel: Axes, report: Report) -> None:
    """Ticks at all or some of the midnights, labeled with the day of the month."""
    days = [day.day for day in report.days if day.day.hour == 0]
    shown = days[:: -(-len(days) // _WIDE_BARS) or 1]
    panel.set_xticks([float(date2num(day)) for day in shown], [f"{day:%-d}" for day in shown])


def _day_axis(panel: Axes, days: Sequence[datetime]) -> None:
    every = -(-len(days) // _WIDE_BARS)
    panel.set_xticks(range(0, len(days), every), [f"{day:%a}\n{day:%m-%d}" for day in days[::every]])


def _plain(panel: Axes) -> None:
    panel.tick_params(labelsize=6.5, colors=_INK, length=2, color=_FAINT)
    panel.grid(axis="y", color="#e4e7eb", linewidth=0.5)
    panel.set_axisbelow(True)
    for side, spine in panel.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_FAINT)


def _short(value: int) -> str:
    """A number of an axis: 1,500,000 is 1.5 M."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return str(value)
