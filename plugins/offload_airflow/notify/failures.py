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
    """What is used of a task's log, whose class depends on Airflow's line."""

    def error(self, text: str, /, *args: object) -> object: ...

    def warning(self, text: str, /, *args: object) -> object: ...


@contextmanager
def airflow_failures(log: TaskLog, table: str) -> Iterator[None]:
    """Log an OffloadError as operators look for it (R101), and spare Airflow retries that can't help.

    Raises:
        AirflowFailException: the error stays until somebody changes something.
        OffloadError: the next attempt may succeed.
    """
    try:
        yield
    except OffloadError as error:
        log.error("✗ Offload failed: %s: %s", table, error)
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from error


@contextmanager
def recorded_failures(ledger: Ledger, log: TaskLog, table: str, *, run_id: str, attempt: int) -> Iterator[None]:
    """Count a failed attempt in the ledger, so that alerts see it; a halted table has its row already."""
    try:
        yield
    except TableHalted:
        raise
    except OffloadError as error:
        record_failure(ledger, log, table, error, run_id=run_id, attempt=attempt)
        raise


def record_failure(ledger: Ledger, log: TaskLog, table: str, error: OffloadError, *, run_id: str, attempt: int) -> None:
    """Log a failure, and write it into the ledger; if that fails, say so and leave the first error to be raised."""
    log.error("%s", attempt_line(table, run_id, attempt, error.kind))
    try:
        ledger.record_failure(table, error.kind, str(error), run_id=run_id, attempt=attempt)
    except OffloadError as second:
        log.warning("The failure could not be recorded in the ledger: %s", second)
