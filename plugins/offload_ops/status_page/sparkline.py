"""A table's last day as shapes: what the template draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from offload_core.config.lag import LagLevel, LagMinutes
from offload_core.ledger.history import OFFLOADED, Entry, LedgerHistory
from offload_core.protocol.window import Interval
from offload_ops.report.compute import table_freshness
from offload_ops.report.lag import HOUR
from offload_ops.status_page.model import Bar, Sparkline
from offload_ops.status_page.read import BIN
from offload_ops.status_page.timestamps import count, roughly

_BIN_WIDTH, _GAP = 4, 1
_ROWS_HEIGHT, _LAG_TOP, _HEIGHT = 24, 26, 36
_CROSS = 6
_THICKNESS = {
    LagLevel.NORMAL: 1.5,
    # With a cycle every 15 minutes, each hour sees this level for a moment (X22).
    LagLevel.ELEVATED: 1.5,
    LagLevel.WARNING: 5,
    LagLevel.CRITICAL: 7,
    LagLevel.SEVERE: 8.5,
    LagLevel.EMERGENCY: 10,
}
"""Of the line below the bars: what is worse is thicker, for those who see no colours."""
_FAILED = frozenset({"failed", "halted"})


def sparkline(
    name: str, entries: Sequence[Entry], day: LedgerHistory, period: Interval, bounds: LagMinutes, now: datetime
) -> Sparkline | None:
    """A table's last day; None before its first ledger row.

    Args:
        name: the table.
        entries: its ledger rows of the day.
        day, period: the day.
        bounds: the lag levels'.
        now: the present (UTC).
    """
    fresh = table_freshness(name, entries, day, period, bounds, now)
    if fresh is None:
        return None
    rows: Counter[int] = Counter()
    failed: Counter[int] = Counter()
    for entry in entries:
        number = (entry.at - period.start) // BIN
        if entry.status in _FAILED:
            failed[number] += 1
        elif entry.kind in OFFLOADED:
            rows[number] += entry.rows
    total = sum(rows.values())
    said = [f"{count(total, 'row')} in 24 hours", f"longest lag {roughly(fresh.longest)}"]
    said += [count(sum(failed.values()), "failed attempt")] if failed else []
    return Sparkline(
        width=(period.end - period.start) // BIN * _BIN_WIDTH,
        height=_HEIGHT,
        bars=_bars(rows, period.start),
        lags=_lags(fresh.by_hour, period.start, bounds),
        crosses=[
            Bar(number * _BIN_WIDTH - 1.5, 0, _CROSS, _CROSS, "cross", f"{_span(period.start, number)}: {told}")
            for number, amount in sorted(failed.items())
            for told in [count(amount, "failed attempt")]
        ],
        summary=", ".join(said),
        rows=total,
    )


def _bars(rows: Counter[int], start: datetime) -> list[Bar]:
    most = max(rows.values(), default=0)
    found = []
    for number, amount in sorted(rows.items()):
        if amount:
            height = max(round(_ROWS_HEIGHT * amount / most, 1), 1.5)
            title = f"{_span(start, number)}: {count(amount, 'row')}"
            x, width = number * _BIN_WIDTH, _BIN_WIDTH - _GAP
            found.append(Bar(x, round(_ROWS_HEIGHT - height, 1), width, height, "rows", title))
    return found


def _lags(by_hour: Sequence[timedelta | None], start: datetime, bounds: LagMinutes) -> list[Bar]:
    width = HOUR // BIN * _BIN_WIDTH
    found = []
    for hour, lag in enumerate(by_hour):
        if lag is not None:
            level = bounds.level(lag)
            thickness = _THICKNESS[level]
            named = f" ({level.value})" if thickness > _THICKNESS[LagLevel.NORMAL] else ""
            span = f"{start + hour * HOUR:%H:%M} to {start + (hour + 1) * HOUR:%H:%M} UTC"
            title = f"{span}: lag up to {roughly(lag)}{named}"
            found.append(Bar(hour * width, _LAG_TOP, width, thickness, level.name.lower(), title))
    return found


def _span(start: datetime, number: int) -> str:
    begin = start + number * BIN
    return f"{begin:%H:%M} to {begin + BIN:%H:%M} UTC"
