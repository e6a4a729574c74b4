"""What one run of `make bench` was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.results import Result


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        cases: names of cases.
        routes: names of routes.
        runs: measured runs of each case on each route.
        measured_at: when this run of `make bench` began (UTC, ISO 8601).
        say: takes a line of progress.
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
        name: as in `CASE=`.
        what: for the report: what is measured.
        routes: the routes that can do it, in the report's order.
        measure: measures cases; those with the same function are measured together, on one stack.
    """

    name: str
    what: str
    routes: tuple[str, ...]
    measure: Measure

    def routes_of(self, plan: Plan) -> list[str]:
        """The routes that are asked for and can do it."""
        return [route for route in self.routes if route in plan.routes]


Measure = Callable[[Sequence[Case], Plan], Iterable[Result]]
