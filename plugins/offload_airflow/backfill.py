"""`offload backfill`: Airflow's own backfill of a period, made safe for an operator.

Airflow's command, run by itself, returns without a word to its exit status when a run of its period is at work, competes with the
scheduler unless the DAG is paused, and doesn't look at what came of it. Here the DAG is paused once nothing of it runs, the command is
run, every interval and both tiers are checked afterwards, and the scheduler goes on as before whatever happened.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from types import FrameType
from typing import NoReturn

from offload_airflow.compat_dag_runs import DagRuns, RunState
from offload_airflow.dag_ids import DAG_ID
from offload_core.errors import FixConfiguration, WaitForOtherRun
from offload_core.run_plan import RunMode
from offload_core.table_config import TableConfig
from offload_core.window import Interval

__all__ = ["DAG_ID", "Ended", "Request", "outcomes", "planned_intervals", "run_backfill", "run_once"]

_POLL_SECONDS = 1.0
_STOP_SECONDS = 60.0
"""How long Airflow's command may take to end when it is told to; tasks that run are let to their end so long."""


@dataclass(frozen=True)
class Request:
    """A backfill.

    Attributes:
        interval: rows of this time shall be right in Iceberg afterwards.
        tables: these tables.
        is_all: whether these are all there are.
        buffer: how long rows may take to arrive, as the runs have it.
        rerun: run intervals again that have run well already.
        wait: how long to wait for runs that are at work.
    """

    interval: Interval
    tables: Sequence[TableConfig]
    is_all: bool
    buffer: timedelta
    rerun: bool
    wait: timedelta


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


def planned_intervals(runs: DagRuns, request: Request, now: datetime) -> list[datetime]:
    """The starts of the data intervals whose runs move the request's rows, as far as they are over.

    A run moves what arrived up to its end minus the buffer, so the rows of the last minutes belong to the run after.
    """
    # No schedule of this DAG is longer than a day, so no interval that matters starts earlier.
    wide = runs.intervals(request.interval.start - timedelta(days=2), request.interval.end + request.buffer)
    return [start for start, end in wide if end - request.buffer >= request.interval.start and end <= now]


def run_backfill(
    runs: DagRuns, request: Request, starts: Sequence[datetime], say: Callable[[str], None]
) -> list[Ended]:
    """Run Airflow's own backfill of these intervals and say what became of each.

    The DAG is paused meanwhile and afterwards as it was before, also when this process is interrupted or told to end.

    Raises:
        WaitForOtherRun: runs of the DAG were still at work when the time to wait was over.
        FixConfiguration: the DAG is paused and has unfinished runs, which would never end.
    """
    with _paused(runs, request.wait, say):
        command = _command(request, starts)
        say(f"Running: {' '.join(command[2:])}")
        try:
            status = _run(command)
        finally:
            left = [run for run in runs.starting_at(starts).values() if run.state in ("running", "queued")]
            runs.fail(left)
            for run in left:
                say(f"{run.run_id} was not finished: it is marked as failed.")
    ended = outcomes(runs, starts)
    if status or not all(run.is_well for run in ended):
        say(f"Airflow's backfill ended with status {status}; what it left undone stands above.")
    return ended


def run_once(runs: DagRuns, request: Request, say: Callable[[str], None]) -> list[Ended]:
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


@contextmanager
def _paused(runs: DagRuns, wait: timedelta, say: Callable[[str], None]) -> Iterator[None]:
    """The DAG with nothing at work on it and nothing that starts."""
    was_paused = runs.is_paused
    with _ended_by_signals():
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
                f"After {wait.total_seconds() / 60:g} minutes there are still unfinished runs: {_names(unfinished)}.",
                "Let them end, or mark them as failed in Airflow; then try again. Nothing was run.",
            )
        for run in unfinished:
            if run.run_id not in told:
                say(f"Waiting for {run.run_id}, which is {run.state}.")
                told.add(run.run_id)
        time.sleep(_POLL_SECONDS)


def _refuse_frozen(runs: DagRuns, unfinished: Sequence[RunState]) -> NoReturn:
    raise FixConfiguration(
        f"The DAG {runs.dag_id} is paused and has unfinished runs, which stay as they are while it is: {_names(unfinished)}.",
        "Unpause it until they have ended, or mark them as failed in Airflow; then try again. Nothing was run.",
    )


def _names(unfinished: Sequence[RunState]) -> str:
    return ", ".join(f"{run.run_id} ({run.state})" for run in unfinished)


def _command(request: Request, starts: Sequence[datetime]) -> list[str]:
    command = [sys.executable, "-m", "airflow", "dags", "backfill", DAG_ID]
    command += ["-s", starts[0].isoformat(), "-e", starts[-1].isoformat()]
    command += ["--yes", "--rerun-failed-tasks", "--continue-on-failures"]
    if request.rerun:
        command += ["--reset-dagruns"]
    if not request.is_all:
        # Only the tables' own tasks: those of the layers before stay as they are.
        names = "|".join(table.name for table in request.tables)
        command += ["--ignore-dependencies", "--task-regex", rf"\.(wait|offload)_({names})$"]
    return command


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


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and a lost terminal end the block as Ctrl-C does; what is put in order then can't be broken off."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def outcomes(runs: DagRuns, starts: Sequence[datetime]) -> list[Ended]:
    """What has become of the intervals with these starts so far."""
    found = runs.starting_at(starts)
    return [
        Ended(start, found[start].run_id, found[start].state) if start in found else Ended(start, None, "no run")
        for start in starts
    ]
