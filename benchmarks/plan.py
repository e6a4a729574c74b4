"""The plan of one run of `make bench`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.results import BenchResult


@dataclass(frozen=True)
class BenchPlan:
    """What to measure.

    Attributes:
        cases: names of cases.
        routes: names of routes.
        runs: the number of measured runs of each case on each route.
        measured_at: when this run of `make bench` began (UTC, ISO 8601).
        say: receives a line of progress.
    """

    cases: tuple[str, ...]
    routes: tuple[str, ...]
    runs: int
    measured_at: str
    say: Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """A case of the benchmark.

    Attributes:
        name: the name in `CASE=`.
        what: the description in the report.
        routes: the routes that support the case, in the report's order.
        measure: measures cases; cases with the same function are measured together.
    """

    name: str
    what: str
    routes: tuple[str, ...]
    measure: Measure

    def routes_of(self, plan: BenchPlan) -> list[str]:
        """Return the requested routes that support the case."""
        return [route for route in self.routes if route in plan.routes]


Measure = Callable[[Sequence[Case], BenchPlan], Iterable[BenchResult]]
