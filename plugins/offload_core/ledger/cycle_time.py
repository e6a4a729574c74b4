"""How long the newest cycle has taken: computed from its steps in the ledger and from the jobs that run. Pure
functions; times are UTC.

The ledger knows no cycles, only steps with the id of their run. A job that has not ended has no step yet, but it has a
session with PostgreSQL that is named after its table and run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from offload_core.ledger.rows import AHEAD_KINDS, LedgerRow, StepKind

LONGEST_PAUSE = timedelta(minutes=10)
"""Steps of one run that lie further apart belong to two executions of it: somebody cleared it.

An attempt takes at most 4 minutes.
"""

_KINDS = frozenset({*AHEAD_KINDS, StepKind.FAILURE})
"""Steps of ordinary cycles.

A repair or restatement takes as long as its interval is large, and audits halt tables, too.
"""
_CYCLE = re.compile(r"(scheduled|manual|backfill)__")
"""How Airflow names its runs; runs by hand have other names."""
_JOB = re.compile(r"offload (\w+) ((?:scheduled|manual|backfill)__\S+)")


@dataclass(frozen=True)
class Job:
    """A session that the offload has with PostgreSQL: its name, cut at 63 characters, and when it began."""

    name: str
    since: datetime

    @property
    def table(self) -> str | None:
        """The table that an offload job of a cycle works on; None for every other session."""
        found = _JOB.match(self.name)
        return found[1] if found else None

    @property
    def run(self) -> str | None:
        """The beginning of its run's id; None for a session that belongs to no cycle."""
        found = _JOB.match(self.name)
        return found[2] if found else None


@dataclass(frozen=True)
class CycleTime:
    """The newest cycle: how long it has taken so far, when it last did something, and whether a job of it runs now."""

    duration: timedelta
    at: datetime
    is_running: bool


def newest_cycle(steps: Sequence[LedgerRow], jobs: Sequence[Job], now: datetime) -> CycleTime | None:
    """The newest cycle, None if there has been none.

    Args:
        steps: the ledger's newest rows, oldest first.
        jobs: the sessions that exist now.
        now: the present (UTC).
    """
    running = [job for job in jobs if job.run is not None]
    if running:
        # If two runs are at work at once, the one that began first counts.
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


def _begin(steps: Sequence[LedgerRow]) -> datetime | None:
    """When the newest execution of a run began, judged by its steps; None if there are none."""
    begin: datetime | None = None
    for step in sorted(steps, key=lambda step: step.id, reverse=True):
        if begin is not None and begin - step.created_at > LONGEST_PAUSE:
            break
        began = step.created_at - timedelta(seconds=step.last_run_duration_seconds or 0)
        begin = began if begin is None else min(begin, began)
    return begin
