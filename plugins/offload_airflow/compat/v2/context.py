"""What a task of Airflow 2.11 learns about its run, mostly from Airflow's database."""

from __future__ import annotations

from datetime import datetime

from airflow.models.pool import Pool
from airflow.timetables.base import DataInterval
from airflow.utils.context import Context
from airflow.utils.state import State

from offload_airflow.compat.v2.dag_runs import DagRuns

__all__ = [
    "adopt_backfills",
    "ensure_pool",
    "failed_before",
    "load_state",
    "next_run_after",
    "save_state",
    "task_states",
]


def ensure_pool(name: str, slots: int, description: str) -> bool:
    """Create an Airflow pool if there is none of this name. Returns whether it was created."""
    if Pool.get_pool(name) is not None:
        return False
    Pool.create_or_update_pool(name, slots=slots, description=description, include_deferred=False)
    return True


def adopt_backfills(context: Context, now: datetime) -> int:
    """Hand the runs that backfills have left behind to the scheduler. Returns their number.

    Args:
        context: of a task of the DAG.
        now: the current time (UTC).
    """
    return DagRuns(context["dag"].dag_id).adopt_backfills(now)


def save_state(context: Context, key: str, text: str) -> None:
    """Store a text for later runs of this task."""
    context["ti"].xcom_push(key=key, value=text)


def load_state(context: Context, key: str) -> str | None:
    """The newest text that a run of this task has stored with `save_state`; None if there is none."""
    found = context["ti"].xcom_pull(task_ids=context["ti"].task_id, key=key, include_prior_dates=True)
    return None if found is None else str(found)


def failed_before(context: Context) -> bool:
    """Whether this task also failed in the previous run."""
    before = context["ti"].get_previous_ti()
    return before is not None and before.state == State.FAILED


def next_run_after(context: Context) -> datetime | None:
    """When the scheduler will start the next run (UTC); None if it won't."""
    interval = DataInterval(context["data_interval_start"], context["data_interval_end"])
    info = context["dag"].next_dagrun_info(interval)
    return info.run_after if info else None


def task_states(context: Context) -> dict[str, str | None]:
    """The state of every task of this run, by task id; None for a task that has none yet."""
    return {instance.task_id: instance.state for instance in context["dag_run"].get_task_instances()}
