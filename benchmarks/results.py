"""Results: the cost of a case on a route, and the report that keeps them between runs of `make bench`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Cost


@dataclass(frozen=True)
class ParityVerdict:
    """Whether a route's table contains exactly ClickHouse's rows.

    Attributes:
        parity: whether count and hash agree.
        note: the differences as text; empty if there are none.
    """

    parity: bool
    note: str = ""

    @classmethod
    def of_all(cls, verdicts: Sequence[ParityVerdict]) -> ParityVerdict:
        """Combine several verdicts."""
        notes = dict.fromkeys(verdict.note for verdict in verdicts if verdict.note)
        return cls(all(verdict.parity for verdict in verdicts), "; ".join(notes))


@dataclass(frozen=True)
class BenchResult:
    """A case on one route: an object of `report.json`.

    Attributes:
        case, route: the names of case and route.
        rows: the number of rows that one run moved; 0 if there was nothing to move.
        runs: the number of measured runs; 0 for a route that failed.
        wall_s, cpu_s, server_cpu_s: the medians of `Cost`'s values; None for a route that failed.
        peak_mb: peak memory of everything except ClickHouse and PostgreSQL, from `measure.peak_while`; None for a
            route that failed.
        parity: whether the tables were correct afterwards; None for a route that failed.
        note: the differences, or the error of a route that failed.
        measured_at: when this run of `make bench` began (UTC, ISO 8601); only results with the same time are compared.
    """

    case: str
    route: str
    rows: int
    runs: int
    wall_s: float | None
    cpu_s: float | None
    server_cpu_s: float | None
    peak_mb: float | None
    parity: bool | None
    note: str
    measured_at: str

    @classmethod
    def of(
        cls,
        case: str,
        route: str,
        rows: int,
        costs: Sequence[Cost],
        peak_mb: float,
        verdict: ParityVerdict,
        measured_at: str,
    ) -> BenchResult:
        """Return the medians of several runs with the peak memory of the run that measured it."""

        def median(name: str) -> float:
            return round(float(statistics.median(getattr(cost, name) for cost in costs)), 2)

        return cls(
            case,
            route,
            rows,
            len(costs),
            median("wall_s"),
            median("cpu_s"),
            median("server_cpu_s"),
            peak_mb,
            verdict.parity,
            verdict.note,
            measured_at,
        )

    @classmethod
    def failed(cls, case: str, route: str, rows: int, reason: str, measured_at: str) -> BenchResult:
        """Return the result of a route that failed."""
        return cls(case, route, rows, 0, None, None, None, None, None, reason, measured_at)

    @property
    def rows_per_s(self) -> float | None:
        """Rows per second; None if nothing was moved."""
        return self.rows / self.wall_s if self.rows and self.wall_s else None

    @property
    def rows_per_cpu_s(self) -> float | None:
        """Rows per CPU second of client and servers together; None if nothing was moved."""
        if not self.rows or self.cpu_s is None or self.server_cpu_s is None:
            return None
        return self.rows / (self.cpu_s + self.server_cpu_s)

    @property
    def is_right(self) -> bool:
        """Whether the route succeeded with the correct rows."""
        return bool(self.runs and self.parity)

    def as_dict(self) -> dict[str, Any]:
        """Return the object of `report.json`, including throughput."""
        throughput = {name: getattr(self, name) for name in ("rows_per_s", "rows_per_cpu_s")}
        return {**asdict(self), **{name: round(value) if value else None for name, value in throughput.items()}}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> BenchResult:
        """Create a result from an object of `report.json`."""
        return cls(**{name: data[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class BenchReport:
    """The content of `report.json`: machine, versions, and the newest result of every case and route."""

    machine: dict[str, object]
    versions: dict[str, str]
    results: list[BenchResult]

    def with_new(self, new: Iterable[BenchResult], order: Sequence[tuple[str, str]]) -> list[BenchResult]:
        """Return the results in the order of `order`; new results replace older ones of the same case and route.

        Results of cases and routes that no longer exist are left out.
        """
        known = {(result.case, result.route): result for result in [*self.results, *new]}
        return [known[key] for key in order if key in known]

    def to_json(self) -> str:
        """Return the text of `report.json`."""
        rows = [result.as_dict() for result in self.results]
        return json.dumps({"machine": self.machine, "versions": self.versions, "results": rows}, indent=1) + "\n"

    @classmethod
    def read(cls, file: Path) -> BenchReport:
        """Read the last report; return an empty report if the file is missing or has an older format."""
        try:
            data = json.loads(file.read_text())
            results = [BenchResult.from_dict(row) for row in data["results"]]
            return cls(data["machine"], data["versions"], results)
        except (OSError, ValueError, KeyError, TypeError):
            return cls({}, {}, [])
