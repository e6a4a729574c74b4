"""Measures several routes with the same loads, alternately, so that whatever else the machine does hits all of them alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from benchmarks.bench_stack import BenchStack
from benchmarks.loads import Load
from benchmarks.measure import CommandFailed, Cost, run_at_once
from benchmarks.plan import Case, Plan
from benchmarks.results import Result, Verdict
from benchmarks.route import Route
from install.errors import SetupError

_SLOW_SECONDS = 30.0
"""A peer's first run counts where it takes longer: what is done besides then hardly matters, and who would wait for it twice?"""
_PATIENCE_SECONDS = 90.0
"""A peer is measured as often as fits into this, at least once; ours and the floor as often as was asked for."""
_TOLD = 300
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ERROR = re.compile(r"(?i)(error|exception|failed|fatal|denied|killed)\b.*\S")


@dataclass
class _Standing:
    """How far a route has come in a case."""

    route: Route
    peak_mb: float = 0.0
    costs: list[Cost] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    failure: str = ""

    def wants_more(self, runs: int) -> bool:
        """Whether it is measured once more."""
        spent = sum(cost.wall_s for cost in self.costs)
        patient = not self.route.is_peer or not self.costs or spent + self.costs[-1].wall_s <= _PATIENCE_SECONDS
        return not self.failure and len(self.costs) < runs and patient

    def result(self, case: str, rows: int, measured_at: str) -> Result:
        """What the report says."""
        if self.failure:
            return Result.failed(case, self.route.name, rows, self.failure, measured_at)
        verdict = Verdict.of_all(self.verdicts)
        return Result.of(case, self.route.name, rows, self.costs, self.peak_mb, verdict, measured_at)


def measure_routes(
    bench: BenchStack,
    case: Case,
    plan: Plan,
    routes: Mapping[str, Route],
    loads: Callable[[int], Sequence[Load]],
) -> Iterable[Result]:
    """Measure a case on every route that is asked for.

    Args:
        bench: the stack.
        case: the case.
        plan: what is asked for.
        routes: the routes by name.
        loads: the loads of a round, which each route does at once; each round may have its own. The first round, number 0, is looked
            at for memory and brings everything into the machine's caches; the others are timed.
    """
    standings = [_Standing(routes[name]) for name in case.routes_of(plan)]
    rows = 0
    for standing in standings:
        _attempt(standing, partial(standing.route.set_up, bench))
    for number in range(plan.runs + 1):
        round_loads = loads(number)
        rows = sum(load.rows for load in round_loads)
        for standing in standings:
            if standing.wants_more(plan.runs):
                plan.say(f"{case.name}, {standing.route.name}: run {number} of {plan.runs}")
                _attempt(standing, partial(_run, bench, standing, round_loads, number, plan.runs))
    for standing in standings:
        yield standing.result(case.name, rows, plan.measured_at)


def _run(bench: BenchStack, standing: _Standing, loads: Sequence[Load], number: int, runs: int) -> None:
    jobs = [standing.route.prepare(bench, load) for load in loads]
    try:
        commands, left_running = [job.command for job in jobs], jobs[0].left_running
        cost = run_at_once(commands, bench.servers(), left_running, look_at_memory=number == 0)
        if number == 0:
            standing.peak_mb = cost.peak_mb
        if number > 0 or (standing.route.is_peer and cost.wall_s > _SLOW_SECONDS):
            standing.costs.append(cost)
        for job, load in zip(jobs, loads, strict=True):
            # Comparing rows takes longer than loading them: the first and the last run must do.
            if number == 0 or not standing.wants_more(runs):
                standing.verdicts.append(load.verdict(bench, job.metadata()))
    finally:
        for job in jobs:
            job.discard()


def _attempt(standing: _Standing, work: Callable[[], None]) -> None:
    """Do something for a peer, whose failure is a result like any other; where our own route or the floor fails, so does the benchmark."""
    try:
        work()
    except (CommandFailed, SetupError) as error:
        if not standing.route.is_peer:
            raise
        standing.failure = _essence(str(error))


def _essence(output: str) -> str:
    """What a program said of its error, on one line; where nothing looks like one, what it said last."""
    lines = [_COLOUR.sub("", line).strip() for line in output.splitlines()]
    telling = [line for line in lines if _ERROR.search(line)] or [line for line in lines if line]
    return telling[-1][:_TOLD] if telling else "no word"
