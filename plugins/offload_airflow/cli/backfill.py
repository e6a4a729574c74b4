"""`offload backfill`: Airflow's own backfill of a period, made safe for an operator.

Airflow's backfill does not check its result. Here, every interval and both tiers are checked afterwards. Airflow 2.11
runs it while the DAG is paused, and Airflow 3 beside the scheduled cycles (`compat.dag_runs`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from offload_airflow.compat.dag_runs import DagRuns, run_intervals
from offload_airflow.compat.types import BackfillRequest
from offload_core.errors import FixConfiguration
from offload_core.protocol.plan import RunMode

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class IntervalOutcome:
    """The state of one interval's run. If there is no run, `run_id` is None and `state` is `no run`."""

    start: datetime
    run_id: str | None
    state: str

    @property
    def succeeded(self) -> bool:
        """Whether the run exists and has succeeded."""
        return self.state == "success"


def planned_intervals(runs: DagRuns, request: BackfillRequest, now: datetime) -> list[datetime]:
    """The starts of the data intervals whose runs move the requested rows. Intervals that are not over are left out.

    A run moves rows up to its end minus the buffer, so the rows of the last minutes belong to the next run.
    """
    # The DAG runs at least once a day, so no interval with requested rows starts earlier.
    candidates = runs.intervals(request.interval.start - timedelta(days=2), request.interval.end + request.buffer)
    return [start for start, end in candidates if end - request.buffer >= request.interval.start and end <= now]


def run_backfill(
    runs: DagRuns, request: BackfillRequest, starts: Sequence[datetime], echo: Callable[[str], None]
) -> list[IntervalOutcome]:
    """Run Airflow's own backfill of these intervals and return the state of each.

    Even if this process is interrupted, the DAG is left as it was, and no run of the backfill stays unfinished.

    Raises:
        WaitForOtherRun: runs of the DAG were still in progress when the time to wait was over.
        FixConfiguration: the DAG is paused, so its runs would never end.
    """
    problem = run_intervals(runs, request, starts, echo)
    results = outcomes(runs, starts)
    if problem or not all(run.succeeded for run in results):
        echo(f"Airflow's backfill ended with {problem or 'failed runs'}; see its output above.")
    return results


def run_once(runs: DagRuns, request: BackfillRequest, echo: Callable[[str], None]) -> list[IntervalOutcome]:
    """Repair the whole interval in one run, beside the scheduled runs.

    Raises:
        FixConfiguration: the DAG is paused.
    """
    if runs.is_paused:
        raise FixConfiguration(
            f"The DAG {runs.dag_id} is paused, so nothing would run.", "Unpause it, or leave out --one-run."
        )
    conf: dict[str, object] = {
        "mode": RunMode.REPAIR.value,
        "from": request.interval.start.isoformat(),
        "to": request.interval.end.isoformat(),
    }
    if not request.is_all:
        conf["tables"] = [table.name for table in request.tables]
    run_id = runs.trigger(conf)
    echo(f"Triggered {run_id}. Ctrl-C leaves it running.")
    while (state := runs.state_of(run_id)) in ("running", "queued"):
        time.sleep(_POLL_SECONDS)
    echo(f"{run_id}: {state}")
    return [IntervalOutcome(request.interval.start, run_id, state)]


def outcomes(runs: DagRuns, starts: Sequence[datetime]) -> list[IntervalOutcome]:
    """The current state of the intervals with these starts."""
    found = runs.starting_at(starts)
    return [
        IntervalOutcome(start, found[start].run_id, found[start].state)
        if start in found
        else IntervalOutcome(start, None, "no run")
        for start in starts
    ]
