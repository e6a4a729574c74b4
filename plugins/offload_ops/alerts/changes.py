"""What has to be told now, and what has been told already. Pure functions; the present is an argument.

- Lag: one message at each level of the matrix (R85) from Warning on, and one when it is over.
- Problems: one message per table and kind of error, after the last attempt; a server that is down is told once, not once per table.
- A halted table is told as that; how late it is by now is told no more, except when its rows may soon expire.
- Over is over when the table has been offloaded since. While a cycle is at work, what others are still waiting for is told together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from offload_core.config.lag import LagLevel
from offload_core.errors import (
    CatalogUnavailable,
    ClickHouseUnavailable,
    FixCredentials,
    FreeDiskSpace,
    LedgerUnavailable,
)
from offload_ops.alerts.model import OVER, Item, Memory, News, Told, Topic
from offload_ops.table_state import Condition, Problem, TableState

AT_RISK = "Rows at risk"
"""The level above all others: the lag comes near the 24 hours after which ClickHouse's TTL may take rows (R68)."""
RISK_AFTER = timedelta(hours=20)
"""Four hours are left then to act."""
LEVELS = (
    LagLevel.WARNING.value,
    LagLevel.CRITICAL.value,
    LagLevel.SEVERE.value,
    LagLevel.EMERGENCY.value,
    AT_RISK,
)
"""The levels that are told. Below lies what a healthy table reaches before each cycle's end (X22)."""
_OF_ALL = frozenset(
    error.kind
    for error in (ClickHouseUnavailable, LedgerUnavailable, CatalogUnavailable, FreeDiskSpace, FixCredentials)
)
"""Kinds of errors that are not about a table, but about a server that all of them need."""
_NOTHING = Told()


def news(
    states: Sequence[TableState],
    memory: Memory,
    now: datetime,
    *,
    is_running: bool,
    given_up: Mapping[str, Problem] | None = None,
) -> News:
    """What one channel is to be told.

    Args:
        states: the configured tables.
        memory: what it has been told.
        now: the present (UTC).
        is_running: whether a cycle is at work.
        given_up: problems of tables whose task has just failed for good, by name; the ledger may not know them.
    """
    given_up = given_up or {}
    watched = [state for state in states if state.is_watched]
    late = _late(watched, memory, now)
    problems = list(_problems(watched, memory, given_up))
    telling = {item.state.name for item in (*late, *problems)}
    over = [
        Item(state, topic, OVER, memory[state.name])
        for state in states
        if state.name not in telling and _is_over(state, memory.get(state.name, _NOTHING))
        for topic in _open_topics(memory[state.name])
    ]
    finished = {item.state.name for item in over}
    waiting = [
        state
        for state in watched
        if state.condition is not Condition.HALTED
        and state.name not in finished
        and (memory.get(state.name, _NOTHING).is_open or state.name in telling)
    ]
    return News(late, problems, [] if is_running and waiting else over)


def level_of(state: TableState, now: datetime) -> str | None:
    """The level to tell of a table's lag; None below Warning. A table that was resumed gets the time that a cycle needs."""
    if state.lag is None:
        return None
    value = state.lag
    if value >= RISK_AFTER:
        return AT_RISK
    if state.row is not None and state.row.kind == "resume":
        value = min(value, max(now - state.row.created_at, timedelta()))
    level = state.bounds.level(value).value
    return level if level in LEVELS else None


def problem_key(state: TableState, problem: Problem) -> str:
    """What is remembered of a problem."""
    return f"{'halted' if state.condition is Condition.HALTED else 'failed'} {problem.kind}"


def _late(watched: Sequence[TableState], memory: Memory, now: datetime) -> list[Item]:
    crossed = [item for state in watched for item in _crossing(state, memory, level_of(state, now))]
    levels = {item.told for item in crossed}
    names = {item.state.name for item in crossed}
    for state in watched:
        if crossed and state.name not in names and state.lag is not None:
            soon = level_of(_later(state), now + _together(state))
            if soon in levels:
                crossed += _crossing(state, memory, soon, is_ahead=True)
    return crossed


def _crossing(state: TableState, memory: Memory, level: str | None, *, is_ahead: bool = False) -> Iterator[Item]:
    before = memory.get(state.name, _NOTHING)
    if level is None or level == before.level:
        return
    if state.condition is Condition.HALTED and level != AT_RISK:
        return
    # A lower level than was told: it has been offloaded since, and is late again. Or it was told ahead of its time.
    if _rank(level) < _rank(before.level) and not _offloaded_since(state, before):
        return
    yield Item(state, Topic.LAG, level, before, is_ahead=is_ahead)


def _problems(watched: Sequence[TableState], memory: Memory, given_up: Mapping[str, Problem]) -> Iterator[Item]:
    known = {key for told in memory.values() for key in told.problems}
    for state in watched:
        problem = _final(state, given_up.get(state.name))
        if problem is None:
            continue
        key, before = problem_key(state, problem), memory.get(state.name, _NOTHING)
        if key not in before.problems:
            yield Item(
                _with(state, problem),
                Topic.PROBLEM,
                key,
                before,
                is_loud=not (problem.kind in _OF_ALL and key in known),
            )


def _final(state: TableState, given_up: Problem | None) -> Problem | None:
    recorded = state.problem
    if state.condition is Condition.FAILED and recorded is not None and not recorded.is_final:
        return recorded if given_up else None
    return recorded or given_up


def _with(state: TableState, problem: Problem) -> TableState:
    if state.problem is problem:
        return state
    return replace(state, condition=Condition.FAILED, problem=problem)


def _is_over(state: TableState, told: Told) -> bool:
    if not told.is_open:
        return False
    return not state.is_watched or (state.condition is Condition.GOOD and _offloaded_since(state, told))


def _offloaded_since(state: TableState, told: Told) -> bool:
    success = state.last_success
    return success is not None and (told.told_at is None or success > told.told_at)


def _open_topics(told: Told) -> Iterator[Topic]:
    if told.level is not None:
        yield Topic.LAG
    if told.problems:
        yield Topic.PROBLEM


def _rank(level: str | None) -> int:
    return -1 if level is None else LEVELS.index(level)


def _later(state: TableState) -> TableState:
    return replace(state, lag=(state.lag or timedelta()) + _together(state))


def _together(state: TableState) -> timedelta:
    """Tables that reach a level this soon after another one are told with it: those of one cycle end minutes apart, 3 of 15."""
    return state.bounds.bound(LagLevel.ELEVATED) / 5
