"""Airflow 2.11's own backfill, made safe: its command runs the tasks itself.

Run by itself, it returns without a word to its exit status when a run of its period is at work, and competes with the scheduler unless
the DAG is paused. Here the DAG is paused once nothing of it runs, and the scheduler goes on as before whatever happened.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import NoReturn

from offload_airflow.compat.signals import interrupt_on_termination
from offload_airflow.compat.types import BackfillRequest, RunState, named
from offload_airflow.compat.v2 import table_backfill
from offload_airflow.compat.v2.dag_runs import DagRuns
from offload_core.errors import FixConfiguration, WaitForOtherRun

__all__ = ["run_intervals"]

_POLL_SECONDS = 1.0
_STOP_SECONDS = 60.0
"""How long Airflow's command may take to end when it is told to; tasks that run are let to their end so long."""


def run_intervals(
    runs: DagRuns, request: BackfillRequest, starts: Sequence[datetime], say: Callable[[str], None]
) -> str:
    """Run the intervals that start at these moments, and say how Airflow's backfill ended; "" if well.

    The DAG is paused meanwhile and afterwards as it was before, also when this process is interrupted or told to end.

    Raises:
        WaitForOtherRun: runs of the DAG were still at work when the time to wait was over.
        FixConfiguration: the DAG is paused and has unfinished runs, which would never end.
    """
    with _paused(runs, request.wait, say):
        command = _command(runs.dag_id, request, starts)
        say(f"Running: {' '.join(command[2:])}")
        try:
            status = _run(command)
        finally:
            left = [run for run in runs.starting_at(starts).values() if run.state in ("running", "queued")]
            runs.fail(left)
            for run in left:
                say(f"{run.run_id} was not finished: it is marked as failed.")
    return f"status {status}" if status else ""


@contextmanager
def _paused(runs: DagRuns, wait: timedelta, say: Callable[[str], None]) -> Iterator[None]:
    """The DAG with nothing at work on it and nothing that starts."""
    was_paused = runs.is_paused
    with interrupt_on_termination():
        try:
            _settle(runs, was_paused, wait, say)
            yield
        finally:
            runs.adopt_backfills(datetime.now(timezone.utc))
            if not was_paused:
                runs.pause(False)
                say(f"{runs.dag_id} is not paused any more.")


def _settle(runs: DagRuns, was_paused: bool, wait: timedelta, say: Callable[[str], None]) -> None:
    """Wait until no run is unfinished, and pause the DAG: a run of a paused DAG would stay where it is."""
    deadline = time.monotonic() + wait.total_seconds()
    told: set[str] = set()
    while True:
        runs.adopt_backfills(datetime.now(timezone.utc))
        unfinished = runs.unfinished()
        if not unfinished:
            runs.pause(True)
            # One may have started between the look and the pause.
            unfinished = runs.unfinished()
            if not unfinished:
                return
            runs.pause(was_paused)
        if was_paused:
            _refuse_frozen(runs, unfinished)
        if time.monotonic() > deadline:
            raise WaitForOtherRun(
                f"After {wait.total_seconds() / 60:g} minutes there are still unfinished runs: {named(unfinished)}.",
                "Let them end, or mark them as failed in Airflow; then try again. Nothing was run.",
            )
        for run in unfinished:
            if run.run_id not in told:
                say(f"Waiting for {run.run_id}, which is {run.state}.")
                told.add(run.run_id)
        time.sleep(_POLL_SECONDS)


def _refuse_frozen(runs: DagRuns, unfinished: Sequence[RunState]) -> NoReturn:
    raise FixConfiguration(
        f"The DAG {runs.dag_id} is paused and has unfinished runs, which stay as they are while it is: {named(unfinished)}.",
        "Unpause it until they have ended, or mark them as failed in Airflow; then try again. Nothing was run.",
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
    """Run Airflow's command in a session of its own, so that Ctrl-C reaches it through us alone, and its end is waited for."""
    # Its words go to stderr: stdout is for the result.
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
