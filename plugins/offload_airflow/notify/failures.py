"""How the offload's errors become Airflow's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from offload_airflow.compat.sdk import AirflowFailException
from offload_core.attempt_log import attempt_line
from offload_core.errors import OffloadError, TableHalted
from offload_core.ledger.ledger import Ledger


class TaskLog(Protocol):
    """The used part of a task's log, whose class depends on the version of Airflow."""

    def error(self, text: str, /, *args: object) -> object: ...

    def warning(self, text: str, /, *args: object) -> object: ...


@contextmanager
def airflow_failures(log: TaskLog, subject: str) -> Iterator[None]:
    """Log an OffloadError in the form that operators search for, and prevent retries that can't help.

    Args:
        log: the task's log.
        subject: the table, or whatever else the task works on.

    Raises:
        AirflowFailException: the error stays until somebody changes something.
        OffloadError: the next attempt may succeed.
    """
    try:
        yield
    except OffloadError as error:
        log.error("✗ Offload failed: %s: %s", subject, error)
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from error


@contextmanager
def recorded_failures(ledger: Ledger, log: TaskLog, table: str, *, run_id: str, attempt: int) -> Iterator[None]:
    """Record a failed attempt in the ledger, where the alerts see it. A halted table already has its row."""
    try:
        yield
    except TableHalted:
        raise
    except OffloadError as error:
        record_failure(ledger, log, table, error, run_id=run_id, attempt=attempt)
        raise


def record_failure(ledger: Ledger, log: TaskLog, table: str, error: OffloadError, *, run_id: str, attempt: int) -> None:
    """Log a failure and record it in the ledger. If the ledger fails too, that is only logged."""
    log.error("%s", attempt_line(table, run_id, attempt, error.kind))
    try:
        ledger.record_failure(table, error.kind, str(error), run_id=run_id, attempt=attempt)
    except OffloadError as second:
        log.warning("The failure could not be recorded in the ledger: %s", second)
