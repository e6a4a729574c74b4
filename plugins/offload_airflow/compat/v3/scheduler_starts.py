"""When schedulers were started.

Airflow's database knows it, but tasks cannot reach the database. So the scheduler saves it in a Variable for them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from offload_airflow.compat.time import as_utc_datetime
from offload_core.protocol.window import Interval

VARIABLE = "iceberg_offload_scheduler_starts"
_DESCRIPTION = "For the weekly report, whose task cannot read Airflow's database. Rewritten when a run of it starts."


@dataclass(frozen=True)
class SchedulerStarts:
    """When schedulers were started (UTC).

    Attributes:
        all: every start in Airflow's database, oldest first.
        up_since: when the scheduler that has been alive longest was started; None if no scheduler is alive.
    """

    all: Sequence[datetime]
    up_since: datetime | None

    def restarts_in(self, period: Interval) -> list[datetime]:
        """The restarts in a period. The very first start is not a restart."""
        return [start for start in self.all[1:] if period.start <= start < period.end]


def stored_starts() -> SchedulerStarts:
    """The starts in Airflow's database."""
    from airflow.jobs.job import Job, JobState
    from airflow.utils.session import create_session
    from sqlalchemy import select

    jobs = select(Job).where(Job.job_type == "SchedulerJob", Job.start_date.is_not(None)).order_by(Job.start_date)
    with create_session() as session:
        found = [
            (as_utc_datetime(job.start_date), job.state, job.is_alive())
            for job in session.scalars(jobs)
            if job.start_date
        ]
    alive = [start for start, state, is_alive in found if is_alive and state == JobState.RUNNING]
    return SchedulerStarts([start for start, _, _ in found], min(alive, default=None))


def save_starts() -> None:
    """Save the starts in the Variable, for the report's task."""
    from airflow.models.variable import Variable

    starts = stored_starts()
    saved = {
        "all": [start.isoformat() for start in starts.all],
        "up_since": starts.up_since.isoformat() if starts.up_since else None,
    }
    Variable.set(VARIABLE, json.dumps(saved), description=_DESCRIPTION)


def load_starts() -> SchedulerStarts | None:
    """The starts in the Variable; None if no scheduler with this plugin has written it."""
    from offload_airflow.compat.secrets import find_variable

    text = find_variable(VARIABLE)
    if text is None:
        return None
    saved = json.loads(text)
    up_since = saved["up_since"]
    return SchedulerStarts(
        [datetime.fromisoformat(start) for start in saved["all"]],
        datetime.fromisoformat(up_since) if up_since else None,
    )
