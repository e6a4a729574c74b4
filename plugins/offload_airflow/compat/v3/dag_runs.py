"""One DAG's runs in the database of Airflow 3, whose scheduler runs backfills itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import pendulum
from airflow.api.common.mark_tasks import set_dag_run_state_to_failed
from airflow.api.common.trigger_dag import trigger_dag
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy import func, select, update

from offload_airflow.compat.time import plain
from offload_airflow.compat.types import RunState
from offload_core.errors import FixConfiguration

__all__ = ["DagRuns"]

_UNFINISHED = (DagRunState.RUNNING, DagRunState.QUEUED)


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
        self._model()
        with create_session() as session:
            session.execute(update(DagModel).where(DagModel.dag_id == self.dag_id).values(is_paused=paused))

    def intervals(self, after: datetime, before: datetime) -> list[tuple[datetime, datetime]]:
        """The data intervals (UTC) that start after one moment and before another, oldest first."""
        infos = self._dag().iter_dagrun_infos_between(pendulum.instance(after), pendulum.instance(before))
        intervals = [info.data_interval for info in infos if info.data_interval is not None]
        found = [(plain(interval.start), plain(interval.end)) for interval in intervals]
        return [(start, end) for start, end in found if after < start < before]

    def unfinished(self) -> list[RunState]:
        """The runs that are queued or running, oldest first."""
        moment = func.coalesce(DagRun.logical_date, DagRun.run_after)
        runs = select(DagRun).where(DagRun.dag_id == self.dag_id, DagRun.state.in_(_UNFINISHED)).order_by(moment)
        with create_session() as session:
            return [_state(run) for run in session.scalars(runs)]

    def starting_at(self, starts: Sequence[datetime]) -> dict[datetime, RunState]:
        """The runs with these logical dates, as far as there are any."""
        runs = select(DagRun).where(DagRun.dag_id == self.dag_id, DagRun.logical_date.in_(starts))
        with create_session() as session:
            return {state.start: state for state in map(_state, session.scalars(runs))}

    def confs(self, starts: Sequence[datetime]) -> dict[datetime, dict[str, object]]:
        """What the runs with these logical dates were asked for."""
        runs = select(DagRun.logical_date, DagRun.conf)
        with create_session() as session:
            found = session.execute(runs.where(DagRun.dag_id == self.dag_id, DagRun.logical_date.in_(starts)))
            return {plain(start): dict(conf or {}) for start, conf in found if start is not None}

    def set_confs(self, confs: Mapping[datetime, dict[str, object]]) -> None:
        """Have the runs with these logical dates asked for this, from their next clear on."""
        with create_session() as session:
            for start, conf in confs.items():
                run = update(DagRun).where(DagRun.dag_id == self.dag_id, DagRun.logical_date == start)
                session.execute(run.values(conf=conf))

    def state_of(self, run_id: str) -> str:
        """The state of a run: queued, running, success or failed."""
        run = select(DagRun).where(DagRun.dag_id == self.dag_id, DagRun.run_id == run_id)
        with create_session() as session:
            return str(session.scalars(run).one().state)

    def trigger(self, conf: dict[str, object]) -> str:
        """Start a run by hand and return its id."""
        self._model()
        run = trigger_dag(dag_id=self.dag_id, triggered_by=DagRunTriggeredByType.CLI, conf=conf)
        if run is None:
            raise RuntimeError(f"Airflow triggered no run of {self.dag_id}.")
        return str(run.run_id)

    def abandoned(self, now: datetime) -> list[RunState]:  # noqa: ARG002
        """None: no run of a backfill hangs on another process than the scheduler."""
        return []

    def fail(self, runs: Sequence[RunState]) -> None:
        """End runs that nobody works on any more as failed, and their unfinished tasks with them."""
        dag = self._dag()
        for run in runs:
            set_dag_run_state_to_failed(dag=dag, run_id=run.run_id, commit=True)

    def _model(self) -> DagModel:
        model = DagModel.get_current(self.dag_id)
        if model is None:
            raise FixConfiguration(
                f"Airflow doesn't know the DAG {self.dag_id}.",
                "See that AIRFLOW_HOME is the one of your Airflow, that dags/ is in it, and that its DAG processor runs.",
            )
        return model

    def _dag(self) -> SerializedDAG:
        self._model()
        with create_session() as session:
            stored = SerializedDagModel.get_dag(self.dag_id, session=session)
            if stored is None:
                raise RuntimeError(f"Airflow has the DAG {self.dag_id}, but not what is in it.")
            return stored


def _state(run: DagRun) -> RunState:
    return RunState(run.run_id, str(run.run_type), str(run.state), plain(run.logical_date or run.run_after))
