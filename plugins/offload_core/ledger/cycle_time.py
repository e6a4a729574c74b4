"""How long the newest cycle has taken, from what the ledger holds of it and which jobs are at work. Pure functions; times are UTC.

The ledger knows no cycles, only steps with the id of the run they belong to; a job that has not come to an end has no step yet, but a
session with PostgreSQL, named after its table and run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

LONGEST_PAUSE = timedelta(minutes=10)
"""Steps of one run that lie further apart belong to two executions of it: somebody cleared it. An attempt takes 4 minutes at most."""

_KINDS = frozenset({"increment", "empty", "recovered", "failure"})
"""Steps of ordinary cycles; repairs and restatements take as long as what they were asked for, and audits halt tables too."""
_CYCLE = re.compile(r"(scheduled|manual|backfill)__")
"""How Airflow names its runs; jobs by hand have other names."""
_JOB = re.compile(r"offload (\w+) ((?:scheduled|manual|backfill)__\S+)")


@dataclass(frozen=True)
class StepRow:
    """A row of the ledger, as far as counters and cycles need it. `seconds` is how long the step took, 0 where that is not known."""

    id: int
    table_name: str
    created_at: datetime
    kind: str
    error_kind: str | None
    row_count: int
    run_id: str | None
    seconds: float


@dataclass(frozen=True)
class Job:
    """A session of the offload's with PostgreSQL: its name, cut at 63 characters, and since when it has been there."""

    name: str
    since: datetime

    @property
    def table(self) -> str | None:
        """The table that an offload job of a cycle works on; None for every other session."""
        found = _JOB.match(self.name)
        return found[1] if found else None

    @property
    def run(self) -> str | None:
        """The beginning of its run's id."""
        found = _JOB.match(self.name)
        return found[2] if found else None


@dataclass(frozen=True)
class CycleTime:
    """The newest cycle: how long it has taken so far, when it was last at work, and whether a job of it is at work now."""

    duration: timedelta
    at: datetime
    is_running: bool


def newest_cycle(steps: Sequence[StepRow], jobs: Sequence[Job], now: datetime) -> CycleTime | None:
    """The newest cycle that is known; None if there is none.

    Args:
        steps: the ledger's newest rows, oldest first.
        jobs: the sessions that are there now.
        now: the present.
    """
    running = [job for job in jobs if job.run is not None]
    if running:
        # Of two runs at work at once, the one that has been for longer.
        oldest = min(running, key=lambda job: job.since)
        begin = _begin([step for step in steps if (step.run_id or "").startswith(oldest.run or " ")])
        start = min(begin or oldest.since, oldest.since)
        return CycleTime(max(now - start, timedelta()), now, True)
    cycle = [step for step in steps if step.kind in _KINDS and step.run_id and _CYCLE.match(step.run_id)]
    if not cycle:
        return None
    newest = cycle[-1]
    begin = _begin([step for step in cycle if step.run_id == newest.run_id])
    return CycleTime(newest.created_at - (begin or newest.created_at), newest.created_at, False)


def _begin(steps: Sequence[StepRow]) -> datetime | None:
    """When the newest execution of a run began, by its steps, oldest first; None if there are none."""
    begin: datetime | None = None
    for step in sorted(steps, key=lambda step: step.id, reverse=True):
        if begin is not None and begin - step.created_at > LONGEST_PAUSE:
            break
        began = step.created_at - timedelta(seconds=step.seconds)
        begin = began if begin is None else min(begin, began)
    return begin
