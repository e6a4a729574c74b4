"""When the scheduler starts runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pendulum
from airflow.timetables.base import TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable

from offload_airflow.compat.time import as_utc_datetime
from offload_core.protocol.window import Interval


def due_times(schedule: str, period: Interval) -> Iterator[datetime]:
    """When runs are due in a period (UTC), in order.

    Args:
        schedule: a cron expression, in UTC.
        period: a run that is due at its start belongs to it, one that is due at its end does not.
    """
    timetable = CronDataIntervalTimetable(schedule, "UTC")
    interval = timetable.infer_manual_data_interval(run_after=pendulum.instance(period.start))
    if interval.end == period.start:
        yield period.start
    while True:
        info = timetable.next_dagrun_info(
            last_automated_data_interval=interval, restriction=TimeRestriction(None, None, catchup=True)
        )
        # Airflow 3 allows a run without a data interval; this timetable always gives one.
        if info is None or info.data_interval is None or info.run_after >= period.end:
            return
        interval = info.data_interval
        yield as_utc_datetime(info.run_after)
