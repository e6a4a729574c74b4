"""Results: what a case cost on a route, the medians of its runs, and how they are kept from one run of `make bench` to the next."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Cost


@dataclass(frozen=True)
class Verdict:
    """Whether a route's table holds exactly ClickHouse's rows.

    Attributes:
        parity: True if count and hash agree.
        note: what differs, in words; empty where nothing does.
    """

    parity: bool
    note: str = ""

    @classmethod
    def of_all(cls, verdicts: Sequence[Verdict]) -> Verdict:
        """What several of them say together."""
        notes = dict.fromkeys(verdict.note for verdict in verdicts if verdict.note)
        return cls(all(verdict.parity for verdict in verdicts), "; ".join(notes))


@dataclass(frozen=True)
class Result:
    """A case on one route: an object of `report.json`.

    Attributes:
        case, route: their names.
        rows: how many rows one run moved; 0 where there were none to move.
        runs: how many measured runs the medians are of; 0 for a route that failed.
        wall_s, cpu_s, server_cpu_s: medians of what `Cost` has; None for a route that failed.
        peak_mb: most memory of everything but ClickHouse and PostgreSQL, as `measure.peak_while` has it; None for a route that failed.
        parity: whether the tables were right afterwards; None for a route that failed.
        note: what differs, or how the route failed.
        measured_at: when this run of `make bench` began (UTC, ISO 8601): only what has the same may be compared by a ratio.
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
        verdict: Verdict,
        measured_at: str,
    ) -> Result:
        """The medians of several runs, and the peak of the run that looked at the memory."""

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
    def failed(cls, case: str, route: str, rows: int, reason: str, measured_at: str) -> Result:
        """A route that did not come to its end."""
        return cls(case, route, rows, 0, None, None, None, None, None, reason, measured_at)

    @property
    def rows_per_s(self) -> float | None:
        """Rows per second; None where nothing was moved."""
        return self.rows / self.wall_s if self.rows and self.wall_s else None

    @property
    def rows_per_cpu_s(self) -> float | None:
        """Rows per CPU second of client and servers together; None where nothing was moved."""
        if not self.rows or self.cpu_s is None or self.server_cpu_s is None:
            return None
        return self.rows / (self.cpu_s + self.server_cpu_s)

    @property
    def is_right(self) -> bool:
        """Whether it came to its end with the right rows."""
        return bool(self.runs and self.parity)

    def as_dict(self) -> dict[str, Any]:
        """The object of `report.json`, throughput included."""
        throughput = {name: getattr(self, name) for name in ("rows_per_s", "rows_per_cpu_s")}
        return {**asdict(self), **{name: round(value) if value else None for name, value in throughput.items()}}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Result:
        """The inverse of `as_dict`."""
        return cls(**{name: data[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Report:
    """Everything that `report.json` holds: machine, versions, and the newest result of every case and route."""

    machine: dict[str, object]
    versions: dict[str, str]
    results: list[Result]

    def with_new(self, new: Iterable[Result], order: Sequence[tuple[str, str]]) -> list[Result]:
        """The results with newer ones in place of older ones of the same case and route, in the order of `order`.

        Results of cases and routes that exist no more are left out.
        """
        known = {(result.case, result.route): result for result in [*self.results, *new]}
        return [known[key] for key in order if key in known]

    def to_json(self) -> str:
        """The text of `report.json`."""
        rows = [result.as_dict() for result in self.results]
        return json.dumps({"machine": self.machine, "versions": self.versions, "results": rows}, indent=1) + "\n"

    @classmethod
    def read(cls, file: Path) -> Report:
        """The report as it was written last; an empty one where there is none, or one of an older form."""
        try:
            data = json.loads(file.read_text())
            results = [Result.from_dict(row) for row in data["results"]]
            return cls(data["machine"], data["versions"], results)
        except (OSError, ValueError, KeyError, TypeError):
            return cls({}, {}, [])
