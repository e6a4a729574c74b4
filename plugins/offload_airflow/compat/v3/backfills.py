"""Airflow 3's own backfills: its scheduler runs them, beside the runs that are due."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from airflow.models.backfill import AlreadyRunningBackfill, Backfill, ReprocessBehavior, _create_backfill
from airflow.utils.session import create_session
from sqlalchemy import select

from offload_airflow.compat.signals import interrupt_on_termination
from offload_airflow.compat.types import BackfillRequest, RunState, named
from offload_airflow.compat.v3.dag_runs import DagRuns
from offload_airflow.compat.v3.health import scheduler_state
from offload_core.errors import FixConfiguration, WaitForOtherRun

__all__ = ["run_intervals"]

_POLL_SECONDS = 1.0


def run_intervals(
    runs: DagRuns, request: BackfillRequest, starts: Sequence[datetime], say: Callable[[str], None]
) -> str:
    """Have the scheduler run the intervals that start at these moments, one after another, and wait for their end.

    When this process is interrupted or told to end, the runs that have not ended are marked as failed.

    Returns:
        "": how the runs ended, each says for itself.

    Raises:
        WaitForOtherRun: another backfill, or runs of these intervals, were still at work when the time to wait was over.
        FixConfiguration: the DAG is paused, or no scheduler is alive: nothing would run.
    """
    _require_running(runs)
    with interrupt_on_termination():
        _settle(runs, request, starts, say)
        with _narrowed(runs, request, starts) as conf:
            say(f"Airflow's scheduler runs {len(starts)} intervals, one after another; Ctrl-C ends them.")
            _create(runs, request, starts, conf)
            try:
                while _unfinished(runs, starts):
                    time.sleep(_POLL_SECONDS)
            finally:
                left = _unfinished(runs, starts)
                runs.fail(left)
                for run in left:
                    say(f"{run.run_id} was not finished: it is marked as failed.")
    return ""


def _require_running(runs: DagRuns) -> None:
    if runs.is_paused:
        raise FixConfiguration(
            f"The DAG {runs.dag_id} is paused, and while it is, Airflow runs no backfill of it.",
            "Unpause it; then try again. Nothing was run.",
        )
    if not scheduler_state().is_alive:
        raise FixConfiguration(
            "No scheduler is alive, and it is the scheduler that runs a backfill.",
            "Start it: `airflow scheduler`, or its service; then try again. Nothing was run.",
        )


def _settle(runs: DagRuns, request: BackfillRequest, starts: Sequence[datetime], say: Callable[[str], None]) -> None:
    """Wait until no other backfill of the DAG is at work, and none of these runs: a backfill would leave them out."""
    deadline = time.monotonic() + request.wait.total_seconds()
    told: set[str] = set()
    while unfinished := [*_backfills(runs.dag_id), *_unfinished(runs, starts)]:
        if time.monotonic() > deadline:
            raise WaitForOtherRun(
                f"After {request.wait.total_seconds() / 60:g} minutes there are still unfinished runs: {named(unfinished)}.",
                "Let them end, or mark them as failed in Airflow; then try again. Nothing was run.",
            )
        for run in unfinished:
            if run.run_id not in told:
                say(f"Waiting for {run.run_id}, which is {run.state}.")
                told.add(run.run_id)
        time.sleep(_POLL_SECONDS)


def _backfills(dag_id: str) -> list[RunState]:
    at_work = select(Backfill).where(Backfill.dag_id == dag_id, Backfill.completed_at.is_(None))
    with create_session() as session:
        return [
            RunState(f"backfill {backfill.id}", "backfill", "running", backfill.from_date)
            for backfill in session.scalars(at_work)
        ]


def _unfinished(runs: DagRuns, starts: Sequence[datetime]) -> list[RunState]:
    return [run for run in runs.starting_at(starts).values() if run.state in ("running", "queued")]


@contextmanager
def _narrowed(runs: DagRuns, request: BackfillRequest, starts: Sequence[datetime]) -> Iterator[dict[str, object]]:
    """The conf of the backfill's runs. Afterwards they have their own again: cleared later, they are about all tables once more."""
    before = runs.confs(starts)
    try:
        yield {} if request.is_all else {"tables": [table.name for table in request.tables]}
    finally:
        if not request.is_all:
            runs.set_confs({start: before.get(start, {}) for start in starts})


def _create(runs: DagRuns, request: BackfillRequest, starts: Sequence[datetime], conf: dict[str, object]) -> None:
    try:
        _create_backfill(
            dag_id=runs.dag_id,
            from_date=starts[0],
            to_date=starts[-1],
            max_active_runs=1,
            reverse=False,
            dag_run_conf=conf,
            triggering_user_name="offload backfill",
            reprocess_behavior=ReprocessBehavior.COMPLETED if request.rerun else ReprocessBehavior.FAILED,
            run_on_latest_version=True,
        )
    except AlreadyRunningBackfill as error:
        raise WaitForOtherRun(
            f"Another backfill of {runs.dag_id} has begun.", "Let it end; then try again. Nothing was run."
        ) from error
