"""The steps of a backfill that both versions of Airflow share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from offload_airflow.compat.runs_base import DagRunsBase
from offload_airflow.compat.types import RunState, describe_runs
from offload_core.errors import WaitForOtherRun

POLL_SECONDS = 1.0


def wait_for_other_runs(
    unfinished: Callable[[], Sequence[RunState]], wait: timedelta, echo: Callable[[str], None]
) -> None:
    """Wait until no run stands in the way of the backfill.

    Args:
        unfinished: returns the runs that stand in its way now.
        wait: how long to wait.
        echo: shows a line to the operator.

    Raises:
        WaitForOtherRun: the time is over.
    """
    deadline = time.monotonic() + wait.total_seconds()
    announced: set[str] = set()
    while runs := unfinished():
        if time.monotonic() > deadline:
            raise WaitForOtherRun(
                f"There are still unfinished runs after {wait.total_seconds() / 60:g} minutes: {describe_runs(runs)}.",
                "Nothing was run. Wait until they end, or mark them as failed in Airflow; then try again.",
            )
        for run in runs:
            if run.run_id not in announced:
                echo(f"Waiting for {run.run_id}, which is {run.state}.")
                announced.add(run.run_id)
        time.sleep(POLL_SECONDS)


def fail_unfinished(runs: DagRunsBase, starts: Sequence[datetime], echo: Callable[[str], None]) -> None:
    """Mark the backfill's runs that have not ended as failed, so that none keeps the next cycles from starting."""
    left = runs.unfinished_at(starts)
    runs.fail(left)
    for run in left:
        echo(f"{run.run_id} had not finished and was marked as failed.")
