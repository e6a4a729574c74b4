"""What all steps of a run share: the scenario, the rules in force, how a run starts and how it ends."""

from __future__ import annotations

from dataclasses import dataclass

from tests.model.rules import Rule
from tests.model.state import IDLE, At, Entry, Row, State, Writer

Move = tuple[str, State]
"""A few words for the trace, and the state after it."""


@dataclass(frozen=True)
class Scenario:
    """What may happen during a walk.

    Attributes:
        name: a word for it.
        events: the disturbances that may happen, by their names in `events.py`, and `limit`, how many of them in all.
        tasks: what runs are started for, and `runs`, how many in all; `writers` of them may be under way at once.
        rows: ClickHouse's rows in the order in which they arrive, each with its clock's minute from then on; so many as
            `present` are there from the start.
        chunked: True if every timestamp is a commit of its own.
        interval_end: repairs and restates are about the rows up to this timestamp, as far as they have been offloaded.
        needless_failures: True if a run may fail though nothing has happened yet.
    """

    name: str
    events: tuple[str, ...]
    limit: int = 2
    tasks: tuple[str, ...] = ("offload",)
    runs: int = 2
    writers: int = 2
    rows: tuple[tuple[Row, int], ...] = ((Row(1, 1), 3), (Row(2, 1), 3), (Row(2, 2), 3), (Row(3, 1), 4))
    present: int = 2
    chunked: bool = False
    interval_end: int = 9
    needless_failures: bool = False

    def clock(self, state: State) -> int:
        """ClickHouse's clock, in minutes."""
        return self.rows[state.arrivals - 1][1]

    def initial(self) -> State:
        """Both tiers before the first run: an empty Iceberg table, a ledger that `offload init` has just made."""
        present = tuple(row for row, _ in self.rows[: self.present])
        return State(
            arrivals=self.present,
            hot=present,
            floor=0,
            source=1,
            snapshots=(),
            main=0,
            branches=(),
            ledger=(Entry(1, 0, "initialized", "init", Row(0, 0)),),
            writers=(IDLE,) * self.writers,
            attempts=0,
            events=self.limit,
            arrived=present,
        )


class Run:
    """The rules in force, and what every step needs."""

    def __init__(self, scenario: Scenario, without: frozenset[Rule] = frozenset()) -> None:
        self.scenario = scenario
        self._without = without

    def keeps(self, rule: Rule) -> bool:
        """Whether a rule is in force."""
        return rule not in self._without

    def go(self, state: State, writer: Writer, at: At, label: str, known: Writer | None = None) -> list[Move]:
        """The writer, now knowing what `known` says, goes on to the step `at`."""
        return [(label, state.with_writer(writer, (known or writer)._replace(at=at)))]

    def unlock(self, state: State, writer: Writer) -> list[Move]:
        """Free the lock: the run is over."""
        return [("unlocks", state.with_writer(writer, IDLE))]

    def start_over(self, state: State, writer: Writer, why: str) -> list[Move]:
        """The run ends and publishes or records nothing more; the next one starts from the newest state."""
        after = state.without_branch(writer.attempt).with_writer(writer, IDLE)
        if state.events == self.scenario.limit and not self.scenario.needless_failures:
            after = after._replace(flaw=f"a run failed though nothing had happened: {why}")
        return [(f"fails: {why}", after)]

    def halt(self, state: State, writer: Writer, reason: str) -> list[Move]:
        """Stop the table until an operator says how to go on; the watermark stays."""
        watermark = state.watermark
        row = watermark._replace(started_from=watermark.id, status="halted", kind="halt", reason=reason, snapshot=0)
        return [(f"halts: {reason}", state.appended(row).with_writer(writer, IDLE))]

    def has_session(self, writer: Writer) -> bool:
        """Whether the writer can still read and write the ledger."""
        return writer.has_lock or not self.keeps(Rule.SESSION)

    def append(self, state: State, writer: Writer, step: Entry) -> State | None:
        """Append a row to the ledger: a compare-and-set. None if it is refused."""
        followed = state.watermark.id == step.started_from
        halted = any(entry.status == "halted" and entry.id > step.started_from for entry in state.ledger)
        if not self.has_session(writer) or (self.keeps(Rule.LEDGER_CAS) and (halted or not followed)):
            return None
        return state.appended(step)
