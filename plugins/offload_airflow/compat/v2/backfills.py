"""The backfill of Airflow 2.11, made safe. Airflow's backfill command runs the tasks itself.

Called directly, it ends with exit status 0 and no message when a run of its period is in progress, and it competes with
the scheduler unless the DAG is paused. Here the DAG is paused once none of its runs is in progress. Whatever happens,
the scheduler continues as before.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import NoReturn

from offload_airflow.compat.backfill_steps import fail_unfinished, wait_for_other_runs
from offload_airflow.compat.signals import interrupt_on_termination
from offload_airflow.compat.types import BackfillRequest, RunState, describe_runs
from offload_airflow.compat.v2 import table_backfill
from offload_airflow.compat.v2.dag_runs import DagRuns
from offload_core.errors import FixConfiguration

__all__ = ["run_intervals"]

_STOP_SECONDS = 60.0
"""How long Airflow's command may take to end after SIGTERM. It lets running tasks finish in that time."""


def run_intervals(
    runs: DagRuns, request: BackfillRequest, starts: Sequence[datetime], echo: Callable[[str], None]
) -> str:
    """Run the intervals that start at these moments.

    The DAG is paused in the meantime. Afterwards it is as it was before, even if this process is interrupted.

    Returns:
        How Airflow's backfill failed; "" if it succeeded.

    Raises:
        WaitForOtherRun: runs of the DAG were still in progress when the time to wait was over.
        FixConfiguration: the DAG is paused and has unfinished runs, which would never end.
    """
    with _paused(runs, request.wait, echo):
        command = _command(runs.dag_id, request, starts)
        echo(f"Running: {' '.join(command[2:])}")
        try:
            status = _run(command)
        finally:
            fail_unfinished(runs, starts, echo)
    return f"status {status}" if status else ""


@contextmanager
def _paused(runs: DagRuns, wait: timedelta, echo: Callable[[str], None]) -> Iterator[None]:
    """Pause the DAG while none of its runs is in progress."""
    was_paused = runs.is_paused
    with interrupt_on_termination():
        try:
            # A run of a paused DAG would not continue, so the DAG is paused only once no run is unfinished.
            wait_for_other_runs(lambda: _pause_unless_busy(runs, was_paused), wait, echo)
            yield
        finally:
            runs.adopt_backfills(datetime.now(timezone.utc))
            if not was_paused:
                runs.pause(False)
                echo(f"{runs.dag_id} is not paused any more.")


def _pause_unless_busy(runs: DagRuns, was_paused: bool) -> Sequence[RunState]:
    """Pause the DAG if it has no unfinished runs; else return them.

    Raises:
        FixConfiguration: the DAG was paused before, so its unfinished runs never end.
    """
    runs.adopt_backfills(datetime.now(timezone.utc))
    unfinished = runs.unfinished()
    if not unfinished:
        runs.pause(True)
        # A run may have started between the check and the pause.
        unfinished = runs.unfinished()
        if unfinished:
            runs.pause(was_paused)
    if unfinished and was_paused:
        _refuse_frozen(runs, unfinished)
    return unfinished


def _refuse_frozen(runs: DagRuns, unfinished: Sequence[RunState]) -> NoReturn:
    raise FixConfiguration(
        f"The DAG {runs.dag_id} is paused and has unfinished runs, which cannot continue: {describe_runs(unfinished)}.",
        "Nothing was run. Unpause it until they have ended, or mark them as failed in Airflow; then try again.",
    )


def _command(dag_id: str, request: BackfillRequest, starts: Sequence[datetime]) -> list[str]:
    first, last = starts[0].isoformat(), starts[-1].isoformat()
    if not request.is_all:
        # Only the tables' own tasks: those of the layers before stay as they are.
        names = "|".join(table.name for table in request.tables)
        command = [sys.executable, "-m", table_backfill.__name__, dag_id, rf"\.(wait|offload)_({names})$", first, last]
        return [*command, "again"] if request.rerun else command
    command = [sys.executable, "-m", "airflow", "dags", "backfill", dag_id, "-s", first, "-e", last]
    command += ["--yes", "--rerun-failed-tasks", "--continue-on-failures"]
    return [*command, "--reset-dagruns"] if request.rerun else command


def _run(command: Sequence[str]) -> int:
    """Run Airflow's command in its own session, so that Ctrl-C reaches it only through us and we wait for its end."""
    # Its output goes to stderr: stdout is for the result.
    process = subprocess.Popen(command, stdout=sys.stderr, start_new_session=True)
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
