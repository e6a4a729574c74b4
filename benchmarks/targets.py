"""The project's targets: reached or not reached, for people to read; no benchmark fails because of a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.results import BenchResult

Results = Mapping[tuple[str, str], BenchResult]
"""Results by case and route."""

_OURS, _FLOOR = "ours", "floor"
_NO_PEERS = (_OURS, "ours-shared", _FLOOR)


@dataclass(frozen=True)
class TargetCheck:
    """A target and its result.

    Attributes:
        case: the name of the case.
        target: the target as text.
        result: the measured value as text.
        reached: whether the target is reached; None if it was not measured, or not in one run of `make bench`.
    """

    case: str
    target: str
    result: str
    reached: bool | None


def targets(results: Results) -> list[TargetCheck]:
    """Return all targets with their results, in the order of the report."""
    return [
        _at_most(results, "bronze-2x100k", "wall_s", 2.5, "s"),
        _at_most(results, "cycle-9", "wall_s", 15.0, "s"),
        _at_most(results, "cycle-9-empty", "wall_s", 6.0, "s"),
        _at_least(results, "window-10m", "rows_per_s", 2_000_000, "rows/s"),
        _at_least(results, "window-10m", "rows_per_cpu_s", 1_300_000, "rows per CPU second"),
        _at_most(results, "window-10m", "peak_mb", 1000.0, "MB"),
        _best(results, "window-10m", "rows_per_cpu_s", "more rows per CPU second than every peer with correct tables"),
        *(
            _best(results, case, "rows_per_s", "not slower than any peer with correct tables")
            for case in ("window-1m", "window-5m", "window-10m")
        ),
        _ratio(results, "window-100k", (_OURS, _FLOOR), 2.0, "times the copy without a JVM"),
        _sizes(results),
    ]


def _at_most(results: Results, case: str, name: str, limit: float, unit: str) -> TargetCheck:
    value = _value(results, case, name)
    return TargetCheck(
        case, f"at most {limit:,g} {unit}", _with_unit(value, unit), None if value is None else value <= limit
    )


def _at_least(results: Results, case: str, name: str, limit: float, unit: str) -> TargetCheck:
    value = _value(results, case, name)
    return TargetCheck(
        case, f"at least {limit:,.0f} {unit}", _with_unit(value, unit), None if value is None else value >= limit
    )


def _best(results: Results, case: str, name: str, target: str) -> TargetCheck:
    """Whether no peer with correct tables has a better value."""
    ours, value = results.get((case, _OURS)), _value(results, case, name)
    peers = {
        route: getattr(result, name)
        for (its_case, route), result in results.items()
        if its_case == case
        and route not in _NO_PEERS
        and result.is_right
        and ours is not None
        and result.measured_at == ours.measured_at
    }
    if value is None or not peers:
        return TargetCheck(case, target, "not measured side by side", None)
    best = max(peers, key=lambda route: peers[route])
    return TargetCheck(case, target, f"{value / peers[best]:.2f} times {best}, the best of them", value >= peers[best])


def _ratio(results: Results, case: str, routes: tuple[str, str], limit: float, unit: str) -> TargetCheck:
    target = f"at most {limit:g} {unit}"
    first, second = (results.get((case, route)) for route in routes)
    return _compared(case, target, first, second, limit)


def _sizes(results: Results) -> TargetCheck:
    case = "increment-into-100m"
    large, empty = results.get((case, _OURS)), results.get(("increment-into-empty", _OURS))
    return _compared(case, "at most 1.1 times the same into an empty table", large, empty, 1.1)


def _compared(
    case: str, target: str, first: BenchResult | None, second: BenchResult | None, limit: float
) -> TargetCheck:
    if first is None or second is None or not first.wall_s or not second.wall_s:
        return TargetCheck(case, target, "not measured", None)
    if first.measured_at != second.measured_at:
        return TargetCheck(case, target, "not measured in one run", None)
    ratio = first.wall_s / second.wall_s
    return TargetCheck(case, target, f"{ratio:.2f} times ({first.wall_s:.2f} s, {second.wall_s:.2f} s)", ratio <= limit)


def _value(results: Results, case: str, name: str) -> float | None:
    result = results.get((case, _OURS))
    value: float | None = getattr(result, name) if result is not None and result.is_right else None
    return value


def _with_unit(value: float | None, unit: str) -> str:
    if value is None:
        return "not measured"
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:,.2f} {unit}"
