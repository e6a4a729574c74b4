"""`offload backfill`: Airflow's own backfill of a period, made safe for an operator.

Airflow's backfill doesn't look at what came of it: here every interval and both tiers are checked afterwards. How it is run is each
line's own business: on Airflow 2.11 the DAG is paused meanwhile, on 3 the scheduler runs the backfill beside the scheduled cycles.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from offload_airflow.compat.dag_runs import DagRuns, run_intervals
from offload_airflow.compat.types import BackfillRequest
from offload_airflow.dag_ids import DAG_ID
from offload_core.errors import FixConfiguration
from offload_core.protocol.plan import RunMode

__all__ = ["DAG_ID", "BackfillRequest", "Ended", "outcomes", "planned_intervals", "run_backfill", "run_once"]

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Ended:
    """What became of one interval's run; `run_id` is None and `state` says so where it has none."""

    start: datetime
    run_id: str | None
    state: str

    @property
    def is_well(self) -> bool:
        """Whether it has run, and well."""
        return self.state == "success"


def planned_intervals(runs: DagRuns, request: BackfillRequest, now: datetime) -> list[datetime]:
    """The starts of the data intervals whose runs move the request's rows, as far as they are over.

    A run moves what arrived up to its end minus the buffer, so the rows of the last minutes belong to the run after.
    """
    # No schedule of this DAG is longer than a day, so no interval that matters starts earlier.
    wide = runs.intervals(request.interval.start - timedelta(days=2), request.interval.end + request.buffer)
    return [start for start, end in wide if end - request.buffer >= request.interval.start and end <= now]


def run_backfill(
    runs: DagRuns, request: BackfillRequest, starts: Sequence[datetime], say: Callable[[str], None]
) -> list[Ended]:
    """Run Airflow's own backfill of these intervals and say what became of each.

    However this process is ended meanwhile, the DAG is left as it was, and no run of the backfill is left unfinished.

    Raises:
        WaitForOtherRun: runs of the DAG were still at work when the time to wait was over.
        FixConfiguration: the DAG is paused, and runs of it would never end.
    """
    problem = run_intervals(runs, request, starts, say)
    ended = outcomes(runs, starts)
    if problem or not all(run.is_well for run in ended):
        say(f"Airflow's backfill ended with {problem or 'failed runs'}; what it left undone stands above.")
    return ended


def run_once(runs: DagRuns, request: BackfillRequest, say: Callable[[str], None]) -> list[Ended]:
    """Repair the whole interval in one run, beside the scheduled ones.

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
    say(f"Started {run_id}; Ctrl-C leaves it running.")
    while (state := runs.state_of(run_id)) in ("running", "queued"):
        time.sleep(_POLL_SECONDS)
    say(f"{run_id}: {state}")
    return [Ended(request.interval.start, run_id, state)]


def outcomes(runs: DagRuns, starts: Sequence[datetime]) -> list[Ended]:
    """What has become of the intervals with these starts so far."""
    found = runs.starting_at(starts)
    return [
        Ended(start, found[start].run_id, found[start].state) if start in found else Ended(start, None, "no run")
        for start in starts
    ]
