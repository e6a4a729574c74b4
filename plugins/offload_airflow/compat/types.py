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
        start: its logical date, which is the start of its interval unless it was started by hand.
    """

    run_id: str
    run_type: str
    state: str
    start: datetime


@dataclass(frozen=True)
class SchedulerState:
    """The scheduler that was alive last.

    Attributes:
        heartbeat: its last sign of life; None if there has never been one.
        is_alive: whether that is recent enough for Airflow.
    """

    heartbeat: datetime | None
    is_alive: bool


@dataclass(frozen=True)
class DagState:
    """A DAG as the scheduler has it.

    Attributes:
        is_known: whether it has been parsed, and its file has not gone since.
        is_paused: whether it was switched off.
        import_errors: the last line of each error that its file could not be imported for; of all files where it isn't known.
    """

    is_known: bool
    is_paused: bool
    import_errors: list[str]


@dataclass(frozen=True)
class PastRun:
    """A run that was started: its state, and when it began and ended (None: not yet)."""

    run_id: str
    state: str
    started: datetime
    ended: datetime | None


def named(runs: Sequence[RunState]) -> str:
    """Runs and their states, for a message."""
    return ", ".join(f"{run.run_id} ({run.state})" for run in runs)


@dataclass(frozen=True)
class BackfillRequest:
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
