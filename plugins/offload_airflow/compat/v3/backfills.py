"""The backfill of Airflow 3: its scheduler runs the intervals beside the runs that are due."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from airflow.models.backfill import AlreadyRunningBackfill, Backfill, ReprocessBehavior, _create_backfill
from airflow.utils.session import create_session
from sqlalchemy import select

from offload_airflow.compat.backfill_steps import POLL_SECONDS, fail_unfinished, wait_for_other_runs
from offload_airflow.compat.signals import interrupt_on_termination
from offload_airflow.compat.types import BackfillRequest, RunState
from offload_airflow.compat.v3.dag_runs import DagRuns
from offload_airflow.compat.v3.health import scheduler_state
from offload_core.errors import FixConfiguration, WaitForOtherRun

__all__ = ["run_intervals"]


def run_intervals(
    runs: DagRuns, request: BackfillRequest, starts: Sequence[datetime], echo: Callable[[str], None]
) -> str:
    """Have the scheduler run the intervals that start at these moments, one after another, and wait until they end.

    If this process is interrupted, the runs that have not ended are marked as failed.

    Returns:
        "": the state of each run says how it ended.

    Raises:
        WaitForOtherRun: another backfill, or runs of these intervals, were still in progress when the time to wait was
            over.
        FixConfiguration: the DAG is paused or no scheduler is alive, so nothing would run.
    """
    _require_running(runs)
    with interrupt_on_termination():
        # A backfill would leave out runs that are in progress.
        wait_for_other_runs(lambda: [*_backfills(runs.dag_id), *runs.unfinished_at(starts)], request.wait, echo)
        with _narrowed(runs, request, starts) as conf:
            echo(f"Airflow's scheduler runs {len(starts)} intervals, one after another. Ctrl-C stops them.")
            _create(runs, request, starts, conf)
            try:
                while runs.unfinished_at(starts):
                    time.sleep(POLL_SECONDS)
            finally:
                fail_unfinished(runs, starts, echo)
    return ""


def _require_running(runs: DagRuns) -> None:
    if runs.is_paused:
        raise FixConfiguration(
            f"The DAG {runs.dag_id} is paused. Airflow runs no backfill of a paused DAG.",
            "Nothing was run. Unpause it; then try again.",
        )
    if not scheduler_state().is_alive:
        raise FixConfiguration(
            "No scheduler is alive. Backfills are run by the scheduler.",
            "Nothing was run. Start it with `airflow scheduler`, or start its service; then try again.",
        )


def _backfills(dag_id: str) -> list[RunState]:
    """Other backfills of the DAG that are in progress."""
    in_progress = select(Backfill).where(Backfill.dag_id == dag_id, Backfill.completed_at.is_(None))
    with create_session() as session:
        return [
            RunState(f"backfill {backfill.id}", "backfill", "running", backfill.from_date)
            for backfill in session.scalars(in_progress)
        ]


@contextmanager
def _narrowed(runs: DagRuns, request: BackfillRequest, starts: Sequence[datetime]) -> Iterator[dict[str, object]]:
    """The conf of the backfill's runs.

    Afterwards the runs get their own conf back, so that a run that is cleared later works on all tables again.
    """
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
            f"Another backfill of {runs.dag_id} has started.", "Nothing was run. Wait until it ends; then try again."
        ) from error
