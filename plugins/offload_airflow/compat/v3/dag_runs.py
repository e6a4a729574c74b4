"""The runs of one DAG in the database of Airflow 3, whose scheduler runs backfills itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from airflow.api.common.trigger_dag import trigger_dag
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.utils.session import create_session
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy import select, update

from offload_airflow.compat.runs_base import DagRunsBase
from offload_airflow.compat.time import as_utc_datetime
from offload_airflow.compat.types import RunState

__all__ = ["DagRuns"]


class DagRuns(DagRunsBase):
    """The runs of one DAG.

    Args:
        dag_id: the DAG.
    """

    parsed_by = "DAG processor"

    def pause(self, paused: bool) -> None:
        """Pause or unpause the DAG."""
        self.model()
        with create_session() as session:
            session.execute(update(DagModel).where(DagModel.dag_id == self.dag_id).values(is_paused=paused))

    def confs(self, starts: Sequence[datetime]) -> dict[datetime, dict[str, object]]:
        """The conf of the existing runs with these logical dates."""
        runs = select(DagRun.logical_date, DagRun.conf)
        with create_session() as session:
            found = session.execute(runs.where(DagRun.dag_id == self.dag_id, DagRun.logical_date.in_(starts)))
            return {as_utc_datetime(start): dict(conf or {}) for start, conf in found if start is not None}

    def set_confs(self, confs: Mapping[datetime, dict[str, object]]) -> None:
        """Set the conf of the runs with these logical dates. It applies when they are cleared next."""
        with create_session() as session:
            for start, conf in confs.items():
                run = update(DagRun).where(DagRun.dag_id == self.dag_id, DagRun.logical_date == start)
                session.execute(run.values(conf=conf))

    def trigger(self, conf: dict[str, object]) -> str:
        """Trigger a run and return its id."""
        self.model()
        run = trigger_dag(dag_id=self.dag_id, triggered_by=DagRunTriggeredByType.CLI, conf=conf)
        if run is None:
            raise RuntimeError(f"Airflow triggered no run of {self.dag_id}.")
        return str(run.run_id)

    def abandoned(self, now: datetime) -> list[RunState]:  # noqa: ARG002
        """No runs: only the scheduler works on the runs of a backfill."""
        return []

    def dag(self) -> SerializedDAG:
        """The DAG as the scheduler has it. Raises FixConfiguration if Airflow doesn't know it."""
        self.model()
        with create_session() as session:
            stored = SerializedDagModel.get_dag(self.dag_id, session=session)
            if stored is None:
                raise RuntimeError(f"Airflow knows the DAG {self.dag_id} but has not stored its tasks.")
            return stored

    def has_start(self, starts: Sequence[datetime]) -> Any:
        """The SQL condition for runs with these logical dates."""
        return DagRun.logical_date.in_(starts)

    def start_of(self, run: DagRun) -> datetime:
        """The logical date of a run, or when it was due if it has none."""
        return run.logical_date or run.run_after
