"""What both versions of `DagRuns` do in the same way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

import pendulum
from airflow.api.common.mark_tasks import set_dag_run_state_to_failed
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from sqlalchemy import select

from offload_airflow.compat.time import as_utc_datetime
from offload_airflow.compat.types import RunState
from offload_core.errors import FixConfiguration

UNFINISHED = (DagRunState.RUNNING, DagRunState.QUEUED)


class DagRunsBase(ABC):
    """The runs of one DAG in Airflow's database.

    Args:
        dag_id: the DAG.
    """

    parsed_by: ClassVar[str]
    """The part of Airflow that makes DAGs known."""

    def __init__(self, dag_id: str) -> None:
        self.dag_id = dag_id

    @property
    def is_paused(self) -> bool:
        """Whether the DAG is paused. The scheduler also leaves the unfinished runs of a paused DAG alone.

        Raises:
            FixConfiguration: Airflow doesn't know the DAG.
        """
        return bool(self.model().is_paused)

    def intervals(self, after: datetime, before: datetime) -> list[tuple[datetime, datetime]]:
        """The data intervals (UTC) that start after one moment and before another, oldest first."""
        infos = self.dag().iter_dagrun_infos_between(pendulum.instance(after), pendulum.instance(before))
        intervals = [info.data_interval for info in infos if info.data_interval is not None]
        found = [(as_utc_datetime(interval.start), as_utc_datetime(interval.end)) for interval in intervals]
        return [(start, end) for start, end in found if after < start < before]

    def unfinished(self) -> list[RunState]:
        """The runs that are queued or running, oldest first."""
        return sorted(self._states(DagRun.state.in_(UNFINISHED)), key=lambda run: run.start)

    def starting_at(self, starts: Sequence[datetime]) -> dict[datetime, RunState]:
        """The existing runs with these logical dates."""
        return {run.start: run for run in self._states(self.has_start(starts))}

    def unfinished_at(self, starts: Sequence[datetime]) -> list[RunState]:
        """The queued or running runs with these logical dates."""
        return [run for run in self.starting_at(starts).values() if run.state in UNFINISHED]

    def state_of(self, run_id: str) -> str:
        """The state of a run: queued, running, success or failed."""
        (run,) = self._states(DagRun.run_id == run_id)
        return run.state

    def fail(self, runs: Sequence[RunState]) -> None:
        """Mark abandoned runs and their unfinished tasks as failed."""
        dag = self.dag()
        for run in runs:
            set_dag_run_state_to_failed(dag=dag, run_id=run.run_id, commit=True)

    def model(self) -> DagModel:
        """The DAG's row in Airflow's database.

        Raises:
            FixConfiguration: Airflow doesn't know the DAG.
        """
        model = DagModel.get_current(self.dag_id)
        if not isinstance(model, DagModel):
            raise FixConfiguration(
                f"Airflow doesn't know the DAG {self.dag_id}.",
                "Make sure that AIRFLOW_HOME is the home of your Airflow, that it contains dags/, "
                f"and that the {self.parsed_by} is running.",
            )
        return model

    @abstractmethod
    def dag(self) -> Any:
        """The DAG as the scheduler has it. Raises FixConfiguration if Airflow doesn't know it."""

    @abstractmethod
    def has_start(self, starts: Sequence[datetime]) -> Any:
        """The SQL condition for runs with these logical dates."""

    @abstractmethod
    def start_of(self, run: DagRun) -> datetime:
        """The logical date of a run."""

    def _states(self, condition: Any) -> list[RunState]:
        runs = select(DagRun).where(DagRun.dag_id == self.dag_id, condition)
        with create_session() as session:
            return [
                RunState(run.run_id, str(run.run_type), str(run.state), as_utc_datetime(self.start_of(run)))
                for run in session.scalars(runs)
            ]
