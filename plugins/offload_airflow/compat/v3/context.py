"""What a task asks Airflow 3, all of it through the Task SDK."""

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
    """Nothing: no task can make a pool; `scheduler_duties` has it made before the first task of a run begins."""
    return False


def adopt_backfills(context: Context, now: datetime) -> int:  # noqa: ARG001
    """Nothing, of no run: Airflow's scheduler runs backfills itself."""
    return 0


def save_state(context: Context, key: str, text: str) -> None:
    """Leave something for the later runs of this task."""
    context["ti"].xcom_push(key=key, value=f"{datetime.now(timezone.utc).isoformat()} {text}")


def load_state(context: Context, key: str) -> str | None:
    """What a run of this task has left by `save_state`, the newest; None: nothing."""
    # Airflow gives all of them in no order that could be relied on: runs by hand need not have a logical date.
    found = context["ti"].xcom_pull(task_ids=context["ti"].task_id, key=key, include_prior_dates=True)
    words = [found] if isinstance(found, str) else found or []
    told = [(moment, text) for moment, said, text in (str(word).partition(" ") for word in words) if said]
    return max(told)[1] if told else None


def failed_before(context: Context) -> bool:
    """Whether this task had failed in the run before as well."""
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
        restriction=TimeRestriction(_moment(dag.start_date), _moment(dag.end_date), catchup=dag.catchup),
    )
    return info.run_after if info else None


def task_states(context: Context) -> dict[str, str | None]:
    """State of every task of this run, by task id; None for a task without one yet."""
    run_id = context["run_id"]
    return dict(context["ti"].get_task_states(context["dag"].dag_id, run_ids=[run_id]).get(run_id, {}))


def _moment(value: datetime | None) -> pendulum.DateTime | None:
    return None if value is None else pendulum.instance(value)
