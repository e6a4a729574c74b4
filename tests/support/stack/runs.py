"""Runs of a DAG in Airflow's own database, task by task and without a scheduler."""

from __future__ import annotations

from tests.support.stack.airflow_version import AIRFLOW_3

if AIRFLOW_3:
    from tests.support.stack.runs_airflow3 import (
        PERIOD,
        attempt,
        manual_run,
        quiet,
        scheduled_run,
        stored,
        task_context,
        task_instance,
        whole_run,
    )
else:
    from tests.support.stack.runs_airflow2 import (
        PERIOD,
        attempt,
        manual_run,
        quiet,
        scheduled_run,
        stored,
        task_context,
        task_instance,
        whole_run,
    )

__all__ = [
    "PERIOD",
    "attempt",
    "manual_run",
    "quiet",
    "scheduled_run",
    "stored",
    "task_context",
    "task_instance",
    "whole_run",
]
