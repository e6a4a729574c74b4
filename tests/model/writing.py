"""Steps three to eight of a run: plan, fetch, branch, commit, audit, publish, record; and the protocol as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache

from offload_core.protocol import window
from tests.model.agreement import Agreement
from tests.model.rules import Rule
from tests.model.run import Move, Scenario
from tests.model.state import (
    BUFFER,
    ORIGIN,
    At,
    Branch,
    Entry,
    Mark,
    Row,
    Rows,
    Snapshot,
    State,
    Writer,
    moment,
    real_cursor,
)

# Nobody sees these steps, and nothing that others do matters to them: they are taken in one go with the step before.
_AT_ONCE = frozenset({At.READ_LEDGER, At.PLAN, At.BRANCH, At.PUBLISH, At.UNLOCK})


@cache
def upper_end(watermark: Row, clock: int) -> int:
    """The window's upper end by the product's own rule, in minutes."""
    planned = window.plan_window(real_cursor(watermark), moment(clock), None, timedelta(minutes=BUFFER))
    return window.to_micros(planned.upper) // 60_000_000


class Protocol(Agreement):
    """One run of one table, step by step."""

    def __init__(self, scenario: Scenario, without: frozenset[Rule] = frozenset()) -> None:
        super().__init__(scenario, without)
        self._steps: dict[At, Callable[[State, Writer], list[Move]]] = {
            At.READ_LEDGER: self.read_ledger,
            At.READ_ICEBERG: self.read_iceberg,
            At.RECOVER: self.recover,
            At.PLAN: self.plan,
            At.FETCH: self.fetch,
            At.BRANCH: self.branch,
            At.COMMIT: self.commit,
            At.AUDIT: self.audit,
            At.PUBLISH: self.publish,
            At.LOOK_FOR_OWN_MARKER: self.look_for_own_marker,
            At.RECORD: self.record,
            At.UNLOCK: self.unlock,
        }

    def moves(self, state: State) -> Iterator[Move]:
        """Every next step of every writer."""
        for task, locked, writer in self.locks(state):
            for label, after in self._advance(locked, writer):
                yield f"run {writer.attempt} {task} {label}", after
        for writer in state.writers:
            if writer.at is not At.START:
                for label, after in self._advance(state, writer):
                    yield f"run {writer.attempt} {label}", after

    def _advance(self, state: State, writer: Writer) -> Iterator[Move]:
        for label, after in self._steps[writer.at](state, writer):
            follower = after.writer_of(writer.attempt)
            if follower.at in _AT_ONCE:
                yield from ((f"{label}, {more}", later) for more, later in self._advance(after, follower))
            else:
                yield label, after

    # 3 and 4. What there is to do

    def plan(self, state: State, writer: Writer) -> list[Move]:
        """Fix the window once, see that TTL took nothing of it, and count it."""
        assert writer.watermark is not None
        watermark = writer.watermark
        if writer.task == "offload":
            known = writer._replace(
                lower=watermark.cursor, until=upper_end(watermark.cursor, self.scenario.clock(state))
            )
            if known.until < watermark.cursor.timestamp:
                return self.go(state, writer, At.UNLOCK, "finds its interval behind the watermark")
            if self._has_gap(state):
                return self.halt(state, writer, "HotRowsExpired")
        else:
            known = writer._replace(lower=ORIGIN, until=min(watermark.cursor.timestamp, self.scenario.interval_end))
            if self._is_out_of_reach(state, writer):
                return self.go(state, writer, At.UNLOCK, "is refused: TTL has been there")
        return self._next_chunk(state, writer, known)

    def _next_chunk(self, state: State, writer: Writer, known: Writer) -> list[Move]:
        """Count the rows of the window, or of the first timestamp in it."""
        counted = self._rows(state, known, known.until)
        upper = counted[0].timestamp if self.scenario.chunked and counted and known.task == "offload" else known.until
        known = known._replace(upper=upper, counted=tuple(row for row in counted if row.timestamp <= upper))
        if counted:
            return self.go(state, writer, At.FETCH, f"counts {len(known.counted)} rows to {upper}", known)
        if writer.task != "offload" or known.step is not None:
            return self.go(state, writer, At.UNLOCK, "finds nothing more")
        return self.go(
            state, writer, At.RECORD, "finds no new rows", known._replace(step=self._step(state, known, None))
        )

    def _rows(self, state: State, writer: Writer, upper: int) -> Rows:
        """ClickHouse's rows of a window (`> lower` as a pair, `timestamp <= upper`), or of an interval."""
        assert writer.watermark is not None
        lower, rows = writer.lower, tuple(row for row in state.hot if row.timestamp <= upper)
        if writer.task != "offload" and self.keeps(Rule.REPROCESSING_STOPS_AT_WATERMARK):
            return tuple(row for row in rows if row <= writer.watermark.cursor)
        if not self.keeps(Rule.PAIR):
            return tuple(row for row in rows if row.timestamp > lower.timestamp)
        return tuple(row for row in rows if row > lower or (row == lower and not self.keeps(Rule.LOWER_EXCLUSIVE)))

    def _has_gap(self, state: State) -> bool:
        """Whether TTL may have taken rows that no run has read."""
        seen = state.seen_until
        is_read = any(row.timestamp <= seen for row in state.hot)
        return self.keeps(Rule.HALT_GAP) and 0 < seen < state.floor and not is_read

    def _is_out_of_reach(self, state: State, writer: Writer) -> bool:
        return writer.task == "restate" and state.floor > 0 and self.keeps(Rule.RESTATE_REFUSED)

    # 5. Fetch

    def fetch(self, state: State, writer: Writer) -> list[Move]:
        """Fetch the window's rows; ClickHouse may answer short."""
        upper = writer.upper if self.keeps(Rule.UPPER_ONCE) else upper_end(writer.lower, self.scenario.clock(state))
        fetched = self._rows(state, writer, upper)
        outcomes = self._fetched(state, writer, fetched)
        if "answers_short" in self.scenario.events and state.events and fetched:
            disturbed = state._replace(events=state.events - 1)
            short = self._fetched(disturbed, writer, fetched[:-1])
            outcomes += [(f"is answered short, {label}", after) for label, after in short]
        return outcomes

    def _fetched(self, state: State, writer: Writer, fetched: Rows) -> list[Move]:
        """ClickHouse must count what was sent, before the fetch or after it."""
        assert writer.watermark is not None
        counted = writer.counted
        if self.keeps(Rule.AUDIT_ROWS) and fetched != counted:
            counted = self._rows(state, writer, writer.upper)
            if fetched != counted:
                return self.start_over(state, writer, "other rows were sent than ClickHouse counts")
        if self.keeps(Rule.GAP_AFTER_FETCH) and writer.task == "offload" and self._has_gap(state):
            return self.halt(state, writer, "HotRowsExpired")
        if self.keeps(Rule.GAP_AFTER_FETCH) and self._is_out_of_reach(state, writer):
            return self.start_over(state, writer, "TTL has been there")
        keeps_cursor = writer.task != "offload" and self.keeps(Rule.REPROCESSING_KEEPS_WATERMARK)
        watermark = writer.watermark
        mark = Mark(
            attempt=writer.attempt,
            kind="increment" if writer.task == "offload" else writer.task,
            ledger_id=watermark.id,
            source=writer.source,
            generation=watermark.generation,
            lower=writer.lower,
            upper=writer.upper,
            cursor=watermark.cursor if keeps_cursor else max(counted or writer.counted),
            rows=fetched,
            base=writer.base,
        )
        known = writer._replace(mark=mark, counted=())
        if not fetched:
            return self._nothing_to_publish(state, writer, known)
        return self.go(state, writer, At.BRANCH, f"fetches {len(fetched)}", known)

    def _nothing_to_publish(self, state: State, writer: Writer, known: Writer) -> list[Move]:
        """An increment that adds nothing moves the watermark all the same; a repair or restate leaves no trace."""
        state = state.without_branch(writer.attempt)
        if writer.task != "offload":
            return self.go(state, writer, At.UNLOCK, "has nothing to change", known)
        known = known._replace(step=self._step(state, known, None))
        return self.go(state, writer, At.RECORD, "has nothing to publish", known)

    # 5 and 6. Branch, commit, audit

    def branch(self, state: State, writer: Writer) -> list[Move]:
        """Make the branch from the base that the run decides by; drop those that dead attempts left behind."""
        known = writer if self.keeps(Rule.BRANCH_FROM_BASE) else writer._replace(base=state.main)
        state = state._replace(branches=(Branch(writer.attempt, known.base, None),))
        return self.go(state, writer, At.COMMIT, "makes its branch", known)

    def commit(self, state: State, writer: Writer) -> list[Move]:
        """Commit the rows to the branch. Iceberg makes a branch that is gone again, from `main` as it is now."""
        branch = state.branch_of(writer.attempt)
        parent = branch.base if branch else state.main
        rows = self._rows_after(writer, state.rows_of(writer.base), state.rows_of(parent))
        if rows == state.rows_of(parent):
            return self._nothing_to_publish(state, writer, writer)
        head = Snapshot(parent, rows, writer.mark)
        committed = state.without_branch(writer.attempt)
        branches = (*committed.branches, Branch(writer.attempt, parent, head))
        committed = committed._replace(branches=tuple(sorted(branches)))
        if not self.keeps(Rule.ONE_PUBLISH):
            half = head._replace(rows=tuple(sorted((*state.cold, writer.mark.rows[0] if writer.mark else ORIGIN))))
            committed = self._moved(committed, half)
        if not self.keeps(Rule.LEDGER_LAST):
            known = writer._replace(step=self._step(committed, writer, head))
            return self.go(committed, writer, At.RECORD, "commits to its branch", known)
        return self.go(committed, writer, At.AUDIT, "commits to its branch")

    def _rows_after(self, writer: Writer, base: Rows, parent: Rows) -> Rows:
        """The rows of a commit on top of `parent`: all rows if nothing overlaps, otherwise the missing ones."""
        assert writer.mark is not None
        fetched = writer.mark.rows
        if writer.task == "restate":
            assert writer.watermark is not None
            kept = tuple(row for row in parent if row > writer.watermark.cursor or row.timestamp > writer.upper)
            return tuple(sorted(kept + fetched))
        if self.keeps(Rule.INSERT_MISSING) and (writer.task == "repair" or self._overlaps(writer, base)):
            fetched = tuple(row for row in fetched if row not in parent)
        return tuple(sorted(parent + fetched))

    def _overlaps(self, writer: Writer, base: Rows) -> bool:
        """Whether Iceberg may hold rows of the window.

        Only timestamps can be asked for, and only as they were in the base.
        """
        lower = writer.lower
        if any(row.timestamp > lower.timestamp for row in base):
            return True
        at_watermark = any(row.timestamp == lower.timestamp for row in base)
        return self.keeps(Rule.OVERLAP_AT_WATERMARK) and at_watermark and writer.reached != lower

    def audit(self, state: State, writer: Writer) -> list[Move]:
        """See that the branch is exactly this run's one commit on top of its base."""
        branch = state.branch_of(writer.attempt)
        if branch is None or branch.head is None:
            return self.start_over(state, writer, "its branch is gone")
        if self.keeps(Rule.AUDIT_BRANCH) and branch.head.parent != writer.base:
            return self.start_over(state, writer, "its branch does not sit on its base")
        return self.go(state, writer, At.PUBLISH, "audits")

    # 7. Publish

    def publish(self, state: State, writer: Writer) -> list[Move]:
        """Fast-forward `main` to the branch: refused if `main` is no ancestor of it. The answer may get lost."""
        branch = state.branch_of(writer.attempt)
        assert branch is not None
        assert branch.head is not None
        outcomes: list[Move] = []
        is_lossy = "answer_lost" in self.scenario.events and state.events > 0
        unknown = state._replace(events=state.events - 1)
        if is_lossy:
            outcomes += self.go(unknown, writer, At.LOOK_FOR_OWN_MARKER, "publishes: no answer, not landed")
        is_behind = state.main in [0, *state.ancestors(branch.head.parent)]
        if self.keeps(Rule.PUBLISH_CAS) and not is_behind:
            return [*self.start_over(state, writer, "main was moved by somebody else"), *outcomes]
        if is_lossy:
            landed = self._moved(unknown.without_branch(writer.attempt), branch.head)
            outcomes += self.go(landed, writer, At.LOOK_FOR_OWN_MARKER, "publishes: no answer, but landed")
        landed = self._moved(state.without_branch(writer.attempt), branch.head)
        return [*self._published(landed, writer, "publishes"), *outcomes]

    def _moved(self, state: State, head: Snapshot) -> State:
        snapshots = (*state.snapshots, head)
        return state._replace(snapshots=snapshots, main=len(snapshots))

    def look_for_own_marker(self, state: State, writer: Writer) -> list[Move]:
        """The outcome is unknown: only `main`'s newest marker can tell."""
        newest = next((mark for mark in map(state.mark_of, state.ancestors(state.main)) if mark is not None), None)
        if self.keeps(Rule.OWN_MARKER) and newest != writer.mark:
            return self.start_over(state, writer, "its marker is not there")
        return self._published(state, writer, "takes it for published")

    def _published(self, state: State, writer: Writer, label: str) -> list[Move]:
        head = state.snapshots[state.main - 1] if state.main else Snapshot(0, (), None)
        step = self._step(state, writer, head)._replace(snapshot=state.main or 1)
        after = At.RECORD if self.keeps(Rule.LEDGER_LAST) else At.UNLOCK
        return self.go(state, writer, after, label, writer._replace(base=state.main, step=step))

    # 8. Record

    def _step(self, state: State, writer: Writer, head: Snapshot | None) -> Entry:
        """What the run adds to the ledger; without a head it has published nothing."""
        watermark, mark = writer.watermark, writer.mark
        assert watermark is not None
        return Entry(
            id=0,
            started_from=watermark.id,
            status="success",
            kind=mark.kind if mark else "empty",
            cursor=mark.cursor if mark else watermark.cursor,
            generation=watermark.generation,
            source=writer.source,
            upper=writer.upper,
            snapshot=len(state.snapshots) + 1 if head else 0,
            total=len(head.rows) if head else 0,
        )

    def record(self, state: State, writer: Writer) -> list[Move]:
        """Append the ledger row, a compare-and-set on the row that the run started from; then the next chunk."""
        assert writer.step is not None
        after = self.append(state, writer, writer.step)
        if after is None:
            return self.start_over(state, writer, "the ledger has moved on, or its session is gone")
        if not self.keeps(Rule.LEDGER_LAST) and writer.step.snapshot:
            return self.go(after, writer, At.AUDIT, "records")
        if writer.upper >= writer.until or writer.task != "offload":
            return self.go(after, writer, At.UNLOCK, "records")
        newest = after.ledger[-1]
        known = writer._replace(watermark=newest, lower=newest.cursor, mark=None, reached=newest.cursor)
        return [(f"records, {label}", later) for label, later in self._next_chunk(after, writer, known)]
