"""Plain values that both versions of Airflow answer with. All times are UTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from offload_core.config.tables import TableConfig
from offload_core.protocol.window import Interval


@dataclass(frozen=True)
class RunState:
    """A run of a DAG.

    Attributes:
        start: its logical date, which is the start of its interval unless the run was triggered.
    """

    run_id: str
    run_type: str
    state: str
    start: datetime


@dataclass(frozen=True)
class SchedulerState:
    """The scheduler with the latest heartbeat.

    Attributes:
        heartbeat: its last heartbeat; None if there has never been one.
        is_alive: whether the heartbeat is recent enough for Airflow.
    """

    heartbeat: datetime | None
    is_alive: bool


@dataclass(frozen=True)
class DagState:
    """A DAG as the scheduler has it.

    Attributes:
        is_known: whether it has been parsed and its file still exists.
        is_paused: whether it is paused.
        import_errors: the last line of each import error of its file, or of every file if the DAG isn't known.
    """

    is_known: bool
    is_paused: bool
    import_errors: list[str]


@dataclass(frozen=True)
class PastRun:
    """A run that has started: its state, when it started, and when it ended (None: it is still running)."""

    run_id: str
    state: str
    started: datetime
    ended: datetime | None


def describe_runs(runs: Sequence[RunState]) -> str:
    """Runs and their states, for a message."""
    return ", ".join(f"{run.run_id} ({run.state})" for run in runs)


@dataclass(frozen=True)
class BackfillRequest:
    """A backfill.

    Attributes:
        interval: Iceberg must hold the right rows of this interval afterwards.
        tables: the tables to backfill.
        is_all: whether these are all tables.
        buffer: how long the runs give rows to arrive.
        rerun: also run intervals again whose runs have succeeded.
        wait: how long to wait for runs that are in progress.
    """

    interval: Interval
    tables: Sequence[TableConfig]
    is_all: bool
    buffer: timedelta
    rerun: bool
    wait: timedelta
