"""One DAG's runs in the database of Airflow 2.11, as backfills need them.

Airflow 2.11 leaves runs of type `backfill` to the process that made them: its scheduler never looks at them again. Cleared later, such
a run stays queued for ever, and with `max_active_runs` it keeps the scheduler from starting any other. So they are given to the
scheduler, as runs of type `scheduled`, as soon as no backfill is at work on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pendulum
from airflow.api.common.mark_tasks import set_dag_run_state_to_failed
from airflow.api.common.trigger_dag import trigger_dag
from airflow.jobs.job import Job
from airflow.models.dag import DAG, DagModel
from airflow.models.dagbag import DagBag
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, JobState
from airflow.utils.types import DagRunType
from sqlalchemy.orm import Session

from offload_airflow.compat.time import plain
from offload_airflow.compat.types import RunState
from offload_core.errors import FixConfiguration

__all__ = ["DagRuns"]

_UNFINISHED = (DagRunState.RUNNING, DagRunState.QUEUED)
_HEARTBEATS = timedelta(minutes=2)
"""How old the last sign of life of a backfill may be; it gives one every few seconds, on a busy machine less often."""


class DagRuns:
    """The runs of one DAG.

    Args:
        dag_id: the DAG.
    """

    def __init__(self, dag_id: str) -> None:
        self.dag_id = dag_id

    @property
    def is_paused(self) -> bool:
        """Whether the scheduler leaves the DAG alone, unfinished runs included.

        Raises:
            FixConfiguration: Airflow doesn't know the DAG.
        """
        return bool(self._model().is_paused)

    def pause(self, paused: bool) -> None:
        """Pause the DAG, or let the scheduler go on with it."""
        self._model().set_is_paused(is_paused=paused)

    def intervals(self, after: datetime, before: datetime) -> list[tuple[datetime, datetime]]:
        """The data intervals (UTC) that start after one moment and before another, oldest first."""
        infos = self._dag().iter_dagrun_infos_between(pendulum.instance(after), pendulum.instance(before))
        found = [(plain(info.data_interval.start), plain(info.data_interval.end)) for info in infos]
        return [(start, end) for start, end in found if after < start < before]

    def unfinished(self) -> list[RunState]:
        """The runs that are queued or running, oldest first."""
        with create_session() as session:
            runs = session.query(DagRun).filter(DagRun.dag_id == self.dag_id, DagRun.state.in_(_UNFINISHED))
            return [_state(run) for run in runs.order_by(DagRun.execution_date)]

    def starting_at(self, starts: Sequence[datetime]) -> dict[datetime, RunState]:
        """The runs with these logical dates, as far as there are any."""
        with create_session() as session:
            runs = session.query(DagRun).filter(DagRun.dag_id == self.dag_id, DagRun.execution_date.in_(starts))
            return {state.start: state for state in map(_state, runs)}

    def state_of(self, run_id: str) -> str:
        """The state of a run: queued, running, success or failed."""
        with create_session() as session:
            run = session.query(DagRun).filter(DagRun.dag_id == self.dag_id, DagRun.run_id == run_id).one()
            return str(run.state)

    def trigger(self, conf: dict[str, object]) -> str:
        """Start a run by hand and return its id."""
        run = trigger_dag(dag_id=self.dag_id, conf=conf)
        if run is None:
            raise RuntimeError(f"Airflow triggered no run of {self.dag_id}.")
        return str(run.run_id)

    def adopt_backfills(self, now: datetime) -> int:
        """Give the runs that backfills have made or taken over to the scheduler; return how many.

        While any backfill is alive, only finished ones: it would lose track of its own.

        Args:
            now: the present (UTC).
        """
        with create_session() as session:
            runs = session.query(DagRun).filter(
                DagRun.dag_id == self.dag_id, DagRun.run_type == DagRunType.BACKFILL_JOB
            )
            if _a_backfill_is_alive(session, now):
                runs = runs.filter(DagRun.state.notin_(_UNFINISHED))
            return int(runs.update({DagRun.run_type: DagRunType.SCHEDULED}, synchronize_session=False))

    def abandoned(self, now: datetime) -> list[RunState]:
        """Unfinished runs of backfills of which none is alive any more: nobody ends them, and they keep others from starting.

        Args:
            now: the present (UTC).
        """
        with create_session() as session:
            if _a_backfill_is_alive(session, now):
                return []
        return [run for run in self.unfinished() if run.run_type == DagRunType.BACKFILL_JOB]

    def fail(self, runs: Sequence[RunState]) -> None:
        """End runs that nobody works on any more as failed, and their unfinished tasks with them."""
        dag = self._dag()
        for run in runs:
            set_dag_run_state_to_failed(dag=dag, run_id=run.run_id, commit=True)

    def _model(self) -> DagModel:
        model = DagModel.get_current(self.dag_id)
        if not isinstance(model, DagModel):
            raise FixConfiguration(
                f"Airflow doesn't know the DAG {self.dag_id}.",
                "See that AIRFLOW_HOME is the one of your Airflow, that dags/ is in it, and that its scheduler runs.",
            )
        return model

    def _dag(self) -> DAG:
        self._model()
        dag: DAG = DagBag(read_dags_from_db=True).get_dag(self.dag_id)
        return dag


def _a_backfill_is_alive(session: Session, now: datetime) -> bool:
    """Whether any backfill is at work: a job doesn't say of which DAG it is."""
    alive = session.query(Job.id).filter(
        Job.job_type == "BackfillJob", Job.state == JobState.RUNNING, Job.latest_heartbeat > now - _HEARTBEATS
    )
    return alive.first() is not None


def _state(run: DagRun) -> RunState:
    return RunState(run.run_id, str(run.run_type), str(run.state), plain(run.execution_date))
