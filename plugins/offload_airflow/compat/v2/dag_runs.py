"""The runs of one DAG in the database of Airflow 2.11.

Airflow 2.11 leaves runs of type `backfill` to the process that created them: its scheduler ignores them. A run of this
type that is cleared later stays queued forever, and with `max_active_runs` it keeps the scheduler from starting any
other. So these runs are handed to the scheduler, as runs of type `scheduled`, as soon as no backfill is in progress.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from airflow.api.common.trigger_dag import trigger_dag
from airflow.jobs.job import Job
from airflow.models.dag import DAG
from airflow.models.dagbag import DagBag
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.state import JobState
from airflow.utils.types import DagRunType
from sqlalchemy.orm import Session

from offload_airflow.compat.runs_base import UNFINISHED, DagRunsBase
from offload_airflow.compat.types import RunState

__all__ = ["DagRuns"]

_HEARTBEAT_TIMEOUT = timedelta(minutes=2)
"""The oldest heartbeat of a living backfill. It sends one every few seconds, on a busy machine less often."""


class DagRuns(DagRunsBase):
    """The runs of one DAG.

    Args:
        dag_id: the DAG.
    """

    parsed_by = "scheduler"

    def pause(self, paused: bool) -> None:
        """Pause or unpause the DAG."""
        self.model().set_is_paused(is_paused=paused)

    def trigger(self, conf: dict[str, object]) -> str:
        """Trigger a run and return its id."""
        run = trigger_dag(dag_id=self.dag_id, conf=conf)
        if run is None:
            raise RuntimeError(f"Airflow triggered no run of {self.dag_id}.")
        return str(run.run_id)

    def adopt_backfills(self, now: datetime) -> int:
        """Hand the runs that backfills have created or taken over to the scheduler. Returns their number.

        While any backfill is alive, only finished runs are handed over: it would lose track of its own.

        Args:
            now: the current time (UTC).
        """
        with create_session() as session:
            runs = session.query(DagRun).filter(
                DagRun.dag_id == self.dag_id, DagRun.run_type == DagRunType.BACKFILL_JOB
            )
            if _has_living_backfill(session, now):
                runs = runs.filter(DagRun.state.notin_(UNFINISHED))
            return int(runs.update({DagRun.run_type: DagRunType.SCHEDULED}, synchronize_session=False))

    def abandoned(self, now: datetime) -> list[RunState]:
        """Unfinished runs of dead backfills. Nothing ends them, and they keep other runs from starting.

        Args:
            now: the current time (UTC).
        """
        with create_session() as session:
            if _has_living_backfill(session, now):
                return []
        return [run for run in self.unfinished() if run.run_type == DagRunType.BACKFILL_JOB]

    def dag(self) -> DAG:
        """The DAG as the scheduler has it. Raises FixConfiguration if Airflow doesn't know it."""
        self.model()
        dag: DAG = DagBag(read_dags_from_db=True).get_dag(self.dag_id)
        return dag

    def has_start(self, starts: Sequence[datetime]) -> Any:
        """The SQL condition for runs with these logical dates."""
        return DagRun.execution_date.in_(starts)

    def start_of(self, run: DagRun) -> datetime:
        """The logical date of a run."""
        start: datetime = run.execution_date
        return start


def _has_living_backfill(session: Session, now: datetime) -> bool:
    """Whether any backfill is in progress: a job does not tell for which DAG it runs."""
    alive = session.query(Job.id).filter(
        Job.job_type == "BackfillJob", Job.state == JobState.RUNNING, Job.latest_heartbeat > now - _HEARTBEAT_TIMEOUT
    )
    return alive.first() is not None
