"""The walk: breadth first through every state that a scenario can reach, looking in each for what must never be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tests.model.events import happenings, operator_resets, operator_resumes
from tests.model.rules import Rule
from tests.model.run import Scenario
from tests.model.state import FOREIGN, IDLE, ORIGIN, Row, State
from tests.model.writing import Protocol


@dataclass(frozen=True)
class Walk:
    """What a walk found: how many states, and the shortest way to the first violation, if there is one."""

    states: int
    violation: str | None = None
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        steps = "\n".join(f"  {number}. {label}" for number, label in enumerate(self.trace, start=1))
        return f"{self.states} states; {self.violation or 'nothing violated'}\n{steps}"


def walk(scenario: Scenario, without: frozenset[Rule] = frozenset()) -> Walk:
    """Walk a scenario completely, or up to the first violation."""
    protocol, aftermath = Protocol(scenario, without), Aftermath(scenario, without)
    initial = scenario.initial()
    came_from: dict[State, tuple[State, str] | None] = {initial: None}
    frontier = [initial]
    while frontier:
        reached: list[State] = []
        for state in frontier:
            for label, after in (*protocol.moves(state), *happenings(state, scenario)):
                if after in came_from:
                    continue
                came_from[after] = (state, label)
                violation = violated(state, after) or aftermath.violation(after)
                if violation:
                    return Walk(len(came_from), violation, _trace(came_from, after))
                reached.append(after)
        frontier = reached
    return Walk(len(came_from))


def _trace(came_from: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    labels = []
    origin = came_from[state]
    while origin is not None:
        labels.append(origin[1])
        origin = came_from[origin[0]]
    return tuple(reversed(labels))


# What must be true in every state


def violated(before: State, state: State) -> str | None:
    """What is wrong with a state, None if nothing is."""
    if state.flaw:
        return state.flaw
    cold = set(state.cold)
    if len(cold) < len(state.cold):
        return f"a row is in Iceberg twice: {_listed(state.cold)}"
    if strangers := cold - set(state.arrived) - {FOREIGN}:
        return f"Iceberg holds rows that ClickHouse never had: {_listed(strangers)}"
    if state.main != before.main and (wrong := _published_wrongly(state)):
        return wrong
    if len(state.ledger) > len(before.ledger) and (wrong := _recorded_wrongly(state)):
        return wrong
    missing = _missing(state, state.watermark.cursor)
    if missing and not state.is_tampered:
        return f"the watermark {tuple(state.watermark.cursor)} lies past rows that Iceberg lacks: {_listed(missing)}"
    return None


def _published_wrongly(state: State) -> str | None:
    head = state.snapshots[state.main - 1]
    if head.mark is None:
        return None
    if not set(head.mark.rows) <= set(head.rows):
        return "readers see a part of a window"
    if head.parent != head.mark.base:
        return "a run published over a commit that it had not looked at"
    return None


def _recorded_wrongly(state: State) -> str | None:
    newest = state.ledger[-1]
    earlier = next((entry for entry in reversed(state.ledger[:-1]) if entry.is_valid), None)
    if newest.status == "success" and earlier is not None and newest.cursor < earlier.cursor:
        moved = f"from {tuple(earlier.cursor)} to {tuple(newest.cursor)}"
        return f"the watermark moved back {moved}, and no operator set it"
    if newest.status != "halted":
        return None
    is_lost = any(row not in state.hot and row not in state.cold for row in state.arrived)
    is_true = state.is_tampered or (newest.reason == "HotRowsExpired" and is_lost)
    return None if is_true else f"the table was halted ({newest.reason}) though nothing was lost"


def _missing(state: State, cursor: Row) -> set[Row]:
    """Rows up to a cursor that Iceberg lacks, except those that came late or that an operator has given up."""
    return {row for row in state.arrived if row <= cursor} - {*state.cold, *state.late, *state.accepted}


def _listed(rows: Iterable[Row]) -> str:
    return ", ".join(str(tuple(row)) for row in sorted(rows))


# What must come of every state


class Aftermath:
    """From every state, undisturbed runs bring both tiers to agree; a halted table needs its operator first."""

    def __init__(self, scenario: Scenario, without: frozenset[Rule]) -> None:
        quiet = replace(scenario, events=(), limit=0, runs=1_000_000, writers=1, interval_end=9)
        self._runs = {
            task: Protocol(replace(quiet, tasks=(task,)), without) for task in ("offload", "repair", "restate")
        }
        self._known: dict[State, str | None] = {}

    def violation(self, state: State) -> str | None:
        """What is wrong after every run has died and one more has run through, None if all is well."""
        stores = state._replace(writers=(IDLE,), branches=(), events=0, attempts=1_000, flaw="")
        if stores not in self._known:
            self._known[stores] = self._violation(stores)
        return self._known[stores]

    def _violation(self, state: State) -> str | None:
        after, violation = self._run(state, "offload")
        if after.is_halted and not violation:
            after, violation = self._run(operator_resumes(operator_resets(after, ORIGIN)), "offload")
            if after.is_halted:
                return f"not even an operator gets the table going again: {after.ledger[-1].reason}"
        if not violation and (missing := _missing(after, max(after.arrived))):
            return f"an undisturbed run ends well, and Iceberg lacks rows: {_listed(missing)}"
        violation = violation or self._violation_of_reprocessing(after, "repair")
        # What TTL or a new source has taken from ClickHouse is not restated.
        is_restatable = after.source == 1 and not after.floor
        return violation or (self._violation_of_reprocessing(after, "restate") if is_restatable else None)

    def _violation_of_reprocessing(self, state: State, task: str) -> str | None:
        """After a repair or restate of everything, late rows are there, too, and the next run has nothing to do."""
        reprocessed, violation = self._run(state, task)
        if lacking := set(state.hot) - set(reprocessed.cold):
            return violation or f"after a {task} Iceberg lacks rows that ClickHouse holds: {_listed(lacking)}"
        return violation or self._run(reprocessed, "offload")[1]

    def _run(self, state: State, task: str) -> tuple[State, str | None]:
        protocol, violation = self._runs[task], None
        while not violation:
            _, after = next(iter(protocol.moves(state)))
            state, violation = after, violated(state, after)
            if state.writers == (IDLE,):
                break
        return state, f"after every run has died: {violation}" if violation else None
