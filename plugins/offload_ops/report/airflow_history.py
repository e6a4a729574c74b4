"""What Airflow's database knows about a report's period. All times are UTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Cycle:
    """A run of the offload that the scheduler started: when it was due, and its state after all retries."""

    due: datetime
    state: str


@dataclass(frozen=True)
class AirflowHistory:
    """A period in Airflow.

    Attributes:
        due: when the schedule wanted a cycle in the period, oldest first.
        first_due: when the very first scheduled cycle was due; None if there has been none.
        cycles: the runs for them; manual runs and those that a backfill added later don't count.
        restarts: when schedulers were started in the period, oldest first, without the very first start; None: unknown.
        up_since: when the scheduler that has been alive longest was started; None if none is alive.
    """

    due: Sequence[datetime]
    first_due: datetime | None
    cycles: Sequence[Cycle]
    restarts: Sequence[datetime] | None
    up_since: datetime | None
