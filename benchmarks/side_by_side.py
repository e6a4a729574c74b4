"""Measures several routes with the same loads in turns, so that other work on the machine affects all of them alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from benchmarks.bench_stack import BenchStack
from benchmarks.loads import Load
from benchmarks.measure import CommandFailed, Cost, run_at_once
from benchmarks.plan import BenchPlan, Case
from benchmarks.results import BenchResult, ParityVerdict
from benchmarks.route import Route
from install.errors import SetupError

_SLOW_SECONDS = 30.0
"""A peer's first run counts if it takes longer than this: warming up then matters little, and saves a run."""
_PATIENCE_SECONDS = 90.0
"""A peer is measured as often as fits into this time, but at least once; other routes always `runs` times."""
_LONGEST_NOTE = 300
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ERROR = re.compile(r"(?i)(error|exception|failed|fatal|denied|killed)\b.*\S")


@dataclass
class _RouteProgress:
    """The progress of a route in a case."""

    route: Route
    peak_mb: float = 0.0
    costs: list[Cost] = field(default_factory=list)
    verdicts: list[ParityVerdict] = field(default_factory=list)
    failure: str = ""

    def wants_more(self, runs: int) -> bool:
        """Whether to measure the route once more."""
        spent = sum(cost.wall_s for cost in self.costs)
        fits = not self.route.is_peer or not self.costs or spent + self.costs[-1].wall_s <= _PATIENCE_SECONDS
        return not self.failure and len(self.costs) < runs and fits

    def result(self, case: str, rows: int, measured_at: str) -> BenchResult:
        """Return the result for the report."""
        if self.failure:
            return BenchResult.failed(case, self.route.name, rows, self.failure, measured_at)
        verdict = ParityVerdict.of_all(self.verdicts)
        return BenchResult.of(case, self.route.name, rows, self.costs, self.peak_mb, verdict, measured_at)


def measure_routes(
    bench: BenchStack,
    case: Case,
    plan: BenchPlan,
    routes: Mapping[str, Route],
    loads: Callable[[int], Sequence[Load]],
) -> Iterable[BenchResult]:
    """Measure a case on every requested route.

    Args:
        bench: the stack.
        case: the case.
        plan: the plan of this run.
        routes: the routes by name.
        loads: returns the loads of a round, which each route copies in parallel. Round 0 measures memory and warms the
            machine's caches; the other rounds are timed.
    """
    progresses = [_RouteProgress(routes[name]) for name in case.routes_of(plan)]
    rows = 0
    for progress in progresses:
        _attempt(progress, partial(progress.route.set_up, bench))
    for number in range(plan.runs + 1):
        round_loads = loads(number)
        rows = sum(load.rows for load in round_loads)
        for progress in progresses:
            if progress.wants_more(plan.runs):
                plan.say(f"{case.name}, {progress.route.name}: run {number} of {plan.runs}")
                _attempt(progress, partial(_run, bench, progress, round_loads, number, plan.runs))
    for progress in progresses:
        yield progress.result(case.name, rows, plan.measured_at)


def _run(bench: BenchStack, progress: _RouteProgress, loads: Sequence[Load], number: int, runs: int) -> None:
    jobs = [progress.route.prepare(bench, load) for load in loads]
    try:
        commands, left_running = [job.command for job in jobs], jobs[0].left_running
        cost = run_at_once(commands, bench.servers(), left_running, measure_memory=number == 0)
        if number == 0:
            progress.peak_mb = cost.peak_mb
        if number > 0 or (progress.route.is_peer and cost.wall_s > _SLOW_SECONDS):
            progress.costs.append(cost)
        for job, load in zip(jobs, loads, strict=True):
            # Comparing rows takes longer than loading them, so only the first and the last run are compared.
            if number == 0 or not progress.wants_more(runs):
                progress.verdicts.append(load.verdict(bench, job.metadata()))
    finally:
        for job in jobs:
            job.discard()


def _attempt(progress: _RouteProgress, work: Callable[[], None]) -> None:
    """Do work for a route. A peer's failure becomes its result; a failure of another route ends the benchmark."""
    try:
        work()
    except (CommandFailed, SetupError) as error:
        if not progress.route.is_peer:
            raise
        progress.failure = _summarize_error(str(error))


def _summarize_error(output: str) -> str:
    """The last line of the output that looks like an error; without one, the last line."""
    lines = [_COLOUR.sub("", line).strip() for line in output.splitlines()]
    candidates = [line for line in lines if _ERROR.search(line)] or [line for line in lines if line]
    return candidates[-1][:_LONGEST_NOTE] if candidates else "no output"
