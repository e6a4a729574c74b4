"""What the world does to the protocol: a disturbance each.

Every function yields the ways in which it can happen now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.model.run import Move, Scenario
from tests.model.state import FOREIGN, IDLE, ORIGIN, At, Entry, Row, State

LATE = Row(1, 2)


def crash(state: State, _: Scenario) -> Iterator[Move]:
    """A run dies; its session ends, which frees the lock."""
    for writer in state.writers:
        if writer.at is not At.START:
            yield f"run {writer.attempt} dies", state.with_writer(writer, IDLE)


def lock_lost(state: State, _: Scenario) -> Iterator[Move]:
    """A run's session is cut off without its noticing: from now on it is a zombie."""
    for writer in state.writers:
        if writer.has_lock:
            zombie = writer._replace(has_lock=False)
            yield f"run {writer.attempt} loses its lock and goes on", state.with_writer(writer, zombie)


def late_row(state: State, _: Scenario) -> Iterator[Move]:
    """A row arrives that is older than others that are there already."""
    if LATE not in state.arrived and state.source == 1:
        late = tuple(sorted({*state.late, LATE}))
        arrived, hot = tuple(sorted((*state.arrived, LATE))), tuple(sorted((*state.hot, LATE)))
        yield "a late row arrives", state._replace(hot=hot, arrived=arrived, late=late)


def expiry(state: State, _: Scenario) -> Iterator[Move]:
    """TTL takes the rows of the oldest timestamp.

    What came late, or before any run had looked, is lost unnoticed by then.
    """
    if state.hot:
        floor = state.hot[0].timestamp
        taken = {row for row in state.hot if row.timestamp == floor}
        hot = tuple(row for row in state.hot if row not in taken)
        unseen = taken - set(state.cold) if not state.seen_until or floor <= _read_until(state) else set()
        accepted = tuple(sorted({*state.accepted, *unseen}))
        yield f"TTL takes the rows of {floor}", state._replace(hot=hot, floor=floor, accepted=accepted)


def _read_until(state: State) -> int:
    """The latest moment up to which any run has read, recorded or not."""
    marks = [writer.mark for writer in state.writers] + [
        state.mark_of(snapshot) for snapshot in state.ancestors(state.main)
    ]
    return max([state.seen_until, *(mark.upper for mark in marks if mark is not None)])


def reset(state: State, _: Scenario) -> Iterator[Move]:
    """An operator sets the watermark back: to zero, and to the timestamp of the second row."""
    for cursor in (ORIGIN, Row(2, 0), state.watermark.cursor):
        if cursor <= state.watermark.cursor:
            yield f"an operator resets to {tuple(cursor)}", operator_resets(state, cursor)


def operator_resets(state: State, cursor: Row) -> State:
    """`offload reset`: what lies past the cursor and is still in ClickHouse has to be in Iceberg after the next run."""
    read_again = {row for row in state.hot if row > cursor}
    watermark = state.watermark
    row = Entry(0, watermark.id, "initialized", "reset", cursor, watermark.generation, watermark.source)
    return state.appended(row)._replace(
        late=tuple(row for row in state.late if row not in read_again),
        accepted=tuple(row for row in state.accepted if row not in read_again),
    )


def operator_resumes(state: State) -> State:
    """`offload resume`: the operator accepts that rows behind the watermark, or removed by TTL, stay missing."""
    watermark = state.watermark
    row = Entry(0, watermark.id, "initialized", "resume", watermark.cursor, watermark.generation + 1)
    given_up = {
        row for row in state.arrived if row not in state.cold and (row <= watermark.cursor or row not in state.hot)
    }
    return state.appended(row)._replace(accepted=tuple(sorted({*state.accepted, *given_up})))


def rollback(state: State, _: Scenario) -> Iterator[Move]:
    """Somebody rolls `main` back."""
    for snapshot in state.ancestors(state.main)[1:]:
        yield f"somebody rolls main back to snapshot {snapshot}", _tampered(state, state._replace(main=snapshot))


def _tampered(before: State, after: State) -> State:
    """Rows were removed. While the ledger knows no commit, or none since `offload resume`, nobody can tell."""
    removed = set(before.cold) - set(after.cold) if before.last_commit is None else set()
    return after._replace(is_tampered=True, accepted=tuple(sorted({*after.accepted, *removed})))


def foreign_append(state: State, _: Scenario) -> Iterator[Move]:
    """Somebody else appends a row of their own."""
    if FOREIGN not in state.cold:
        yield "somebody appends a row", state.committed_by_others((*state.cold, FOREIGN))


def foreign_delete(state: State, _: Scenario) -> Iterator[Move]:
    """Somebody deletes the newest of our rows."""
    ours = [row for row in state.cold if row != FOREIGN]
    if ours:
        rest = tuple(row for row in state.cold if row != max(ours))
        yield "somebody deletes a row", _tampered(state, state.committed_by_others(rest))


def compaction(state: State, _: Scenario) -> Iterator[Move]:
    """The table is compacted: a new snapshot with the same rows and no marker."""
    if state.cold and state.mark_of(state.main):
        yield "the table is compacted", state.committed_by_others(state.cold)


def source_replaced(state: State, _: Scenario) -> Iterator[Move]:
    """The ClickHouse table is dropped and made again, with a row whose timestamp lies behind the watermark."""
    if state.source == 1:
        new = Row(1, 7)
        dropped = {row for row in state.arrived if row not in state.cold}
        yield (
            "the ClickHouse table is made again",
            state._replace(
                source=2,
                hot=(new,),
                floor=0,
                arrived=tuple(sorted((*state.arrived, new))),
                accepted=tuple(sorted({*state.accepted, *dropped})),
                is_tampered=True,
            ),
        )


def ledger_restored(state: State, _: Scenario) -> Iterator[Move]:
    """The ledger is restored from an older backup, which ends all sessions; an operator's reset is lost with it."""
    late = (LATE,) if LATE in state.arrived else ()
    writers = tuple(writer._replace(has_lock=False) for writer in state.writers)
    for length in range(1, len(state.ledger)):
        restored = state._replace(ledger=state.ledger[:length], writers=writers, late=late)
        yield f"the ledger is restored as it was after row {length}", restored


_EVENTS: dict[str, Callable[[State, Scenario], Iterator[Move]]] = {
    event.__name__: event
    for event in (
        crash,
        lock_lost,
        late_row,
        expiry,
        reset,
        rollback,
        foreign_append,
        foreign_delete,
        compaction,
        source_replaced,
        ledger_restored,
    )
}


def happenings(state: State, scenario: Scenario) -> Iterator[Move]:
    """Everything that may happen next without a run doing it."""
    if state.source == 1 and state.arrivals < len(scenario.rows):
        row = scenario.rows[state.arrivals][0]
        arrived, hot = tuple(sorted((*state.arrived, row))), tuple(sorted((*state.hot, row)))
        yield f"row {tuple(row)} arrives", state._replace(arrivals=state.arrivals + 1, hot=hot, arrived=arrived)
    if state.is_halted and state.attempts < scenario.runs:
        yield "an operator resumes", operator_resumes(state)
    if state.events:
        for name in scenario.events:
            if name in _EVENTS:
                for label, after in _EVENTS[name](state, scenario):
                    yield label, after._replace(events=state.events - 1)
