"""Lateness as Airflow 2.11 has it: a task misses its SLA, and the DAG processor calls back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any


def task_limit(after: timedelta) -> dict[str, Any]:
    """The operator arguments that make a task late when it has not ended so long after its run was due."""
    return {"sla": after}


def run_limit(
    after: timedelta,  # noqa: ARG001  # each task has it
    *,
    of_tasks: Callable[..., None],
    of_run: Callable[..., None],  # noqa: ARG001
) -> dict[str, Any]:
    """The DAG arguments that have late tasks told."""
    return {"sla_miss_callback": of_tasks}
