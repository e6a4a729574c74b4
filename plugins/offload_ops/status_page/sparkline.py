"""The last 24 hours of a table as shapes for the template to draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from offload_core.config.lag import LagLevel, LagMinutes
from offload_core.ledger.rows import FAILED_STATUSES, OFFLOADED_KINDS
from offload_ops.report.lag import HOUR, LagPeriod, table_freshness
from offload_ops.status_page.context import PageContext
from offload_ops.status_page.model import Bar, Sparkline
from offload_ops.status_page.read import BIN
from offload_ops.text import count, rough_duration, time_of_day

_BIN_WIDTH, _GAP = 4, 1
_ROWS_HEIGHT, _LAG_TOP, _HEIGHT = 24, 26, 36
_CROSS = 6
_THICKNESS = {
    LagLevel.NORMAL: 1.5,
    # With a cycle every 15 minutes, every healthy table reaches this level for a moment in each hour.
    LagLevel.ELEVATED: 1.5,
    LagLevel.WARNING: 5,
    LagLevel.CRITICAL: 7,
    LagLevel.SEVERE: 8.5,
    LagLevel.EMERGENCY: 10,
}
"""Of the line below the bars: a worse lag is thicker, for readers who can't tell the colors apart."""


def sparkline(name: str, context: PageContext) -> Sparkline | None:
    """The last 24 hours of a table; None before its first ledger row."""
    period, bounds = context.data.period, context.settings.lag_minutes
    freshness = table_freshness(name, context.data.day, LagPeriod(period, bounds, context.now))
    if freshness is None:
        return None
    steps = [row for row in context.data.day.rows if row.table_name == name]
    rows: Counter[int] = Counter()
    failed: Counter[int] = Counter()
    for step in steps:
        number = (step.created_at - period.start) // BIN
        if step.status in FAILED_STATUSES:
            failed[number] += 1
        elif step.kind in OFFLOADED_KINDS:
            rows[number] += step.row_count
    total = sum(rows.values())
    summary = [f"{count(total, 'row')} in 24 hours", f"longest lag {rough_duration(freshness.longest)}"]
    summary += [count(sum(failed.values()), "failed attempt")] if failed else []
    return Sparkline(
        width=(period.end - period.start) // BIN * _BIN_WIDTH,
        height=_HEIGHT,
        bars=_bars(rows, period.start),
        lags=_lags(freshness.by_hour, period.start, bounds),
        crosses=_crosses(failed, period.start),
        summary=", ".join(summary),
        rows=total,
    )


def _bars(rows: Counter[int], start: datetime) -> list[Bar]:
    most = max(rows.values(), default=0)
    bars = []
    for number, amount in sorted(rows.items()):
        if amount:
            height = max(round(_ROWS_HEIGHT * amount / most, 1), 1.5)
            title = f"{_bin_span(start, number)}: {count(amount, 'row')}"
            x, width = number * _BIN_WIDTH, _BIN_WIDTH - _GAP
            bars.append(Bar(x, round(_ROWS_HEIGHT - height, 1), width, height, "rows", title))
    return bars


def _lags(by_hour: Sequence[timedelta | None], start: datetime, bounds: LagMinutes) -> list[Bar]:
    width = HOUR // BIN * _BIN_WIDTH
    bars = []
    for hour, lag in enumerate(by_hour):
        if lag is not None:
            level = bounds.level(lag)
            thickness = _THICKNESS[level]
            suffix = f" ({level.value})" if thickness > _THICKNESS[LagLevel.NORMAL] else ""
            begin = start + hour * HOUR
            title = f"{_span(begin, begin + HOUR)}: lag up to {rough_duration(lag)}{suffix}"
            bars.append(Bar(hour * width, _LAG_TOP, width, thickness, level.name.lower(), title))
    return bars


def _crosses(failed: Counter[int], start: datetime) -> list[Bar]:
    bars = []
    for number, attempts in sorted(failed.items()):
        title = f"{_bin_span(start, number)}: {count(attempts, 'failed attempt')}"
        # Centered on its bar, which is narrower than a cross.
        bars.append(Bar(number * _BIN_WIDTH - 1.5, 0, _CROSS, _CROSS, "cross", title))
    return bars


def _bin_span(start: datetime, number: int) -> str:
    begin = start + number * BIN
    return _span(begin, begin + BIN)


def _span(begin: datetime, end: datetime) -> str:
    return f"{time_of_day(begin)} to {time_of_day(end)} UTC"
