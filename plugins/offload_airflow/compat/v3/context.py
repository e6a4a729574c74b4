"""What a task of Airflow 3 learns about its run, all through the Task SDK."""

from __future__ import annotations

from datetime import datetime, timezone

import pendulum
from airflow.sdk import Context
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.timetables.base import DataInterval, TimeRestriction

__all__ = [
    "adopt_backfills",
    "ensure_pool",
    "failed_before",
    "load_state",
    "next_run_after",
    "save_state",
    "task_states",
]


def ensure_pool(name: str, slots: int, description: str) -> bool:  # noqa: ARG001
    """Do nothing: tasks cannot create pools. `scheduler_duties` has created it before the first task of the run."""
    return False


def adopt_backfills(context: Context, now: datetime) -> int:  # noqa: ARG001
    """Do nothing: Airflow's scheduler runs backfills itself and leaves no runs behind."""
    return 0


def save_state(context: Context, key: str, text: str) -> None:
    """Store a text for later runs of this task."""
    context["ti"].xcom_push(key=key, value=f"{datetime.now(timezone.utc).isoformat()} {text}")


def load_state(context: Context, key: str) -> str | None:
    """The newest text that a run of this task has stored with `save_state`; None if there is none."""
    # Airflow returns all texts in no reliable order, because triggered runs need not have a logical date. So each text
    # begins with the time when it was stored.
    found = context["ti"].xcom_pull(task_ids=context["ti"].task_id, key=key, include_prior_dates=True)
    values = [found] if isinstance(found, str) else found or []
    stored = [(moment, text) for moment, space, text in (str(value).partition(" ") for value in values) if space]
    return max(stored)[1] if stored else None


def failed_before(context: Context) -> bool:
    """Whether this task also failed in the previous run."""
    run = context["dag_run"]
    before = context["ti"].get_previous_ti(logical_date=run.logical_date or run.run_after)
    return before is not None and before.state == "failed"


def next_run_after(context: Context) -> datetime | None:
    """When the scheduler will start the next run (UTC); None if it won't."""
    dag = context["dag"]
    timetable = coerce_to_core_timetable(dag.timetable)
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start is not None and end is not None:
        interval = DataInterval(pendulum.instance(start), pendulum.instance(end))
    else:
        interval = timetable.infer_manual_data_interval(run_after=pendulum.instance(context["dag_run"].run_after))
    info = timetable.next_dagrun_info(
        last_automated_data_interval=interval,
        restriction=TimeRestriction(_pendulum(dag.start_date), _pendulum(dag.end_date), catchup=dag.catchup),
    )
    return info.run_after if info else None


def task_states(context: Context) -> dict[str, str | None]:
    """The state of every task of this run, by task id; None for a task that has none yet."""
    run_id = context["run_id"]
    return dict(context["ti"].get_task_states(context["dag"].dag_id, run_ids=[run_id]).get(run_id, {}))


def _pendulum(value: datetime | None) -> pendulum.DateTime | None:
    return None if value is None else pendulum.instance(value)
