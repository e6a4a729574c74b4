"""Lateness as Airflow 3 has it: a run misses its deadline, and the scheduler has an executor call back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference


def task_limit(after: timedelta) -> dict[str, Any]:  # noqa: ARG001  # the run has it
    """No operator arguments: tasks have no deadlines of their own."""
    return {}


def run_limit(
    after: timedelta,
    *,
    of_tasks: Callable[..., None],  # noqa: ARG001
    of_run: Callable[..., None],
) -> dict[str, Any]:
    """The DAG arguments that have a run told that has not ended so long after it was queued."""
    alert = DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, interval=after, callback=SyncCallback(of_run))
    return {"deadline": alert}
