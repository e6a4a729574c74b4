"""Addresses in Airflow's web interface."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from sqlalchemy import select

from offload_airflow.compat.version import AIRFLOW_V_3_0_PLUS

if AIRFLOW_V_3_0_PLUS:
    from offload_airflow.compat.v3.links import *
else:
    from offload_airflow.compat.v2.links import *


def dags_of_runs(run_ids: Iterable[str], dag_ids: Sequence[str]) -> dict[str, str]:
    """The DAG of each run that Airflow knows, by run id.

    If several DAGs have a run of the same id, the first of `dag_ids` is taken.
    """
    runs = select(DagRun.run_id, DagRun.dag_id)
    with create_session() as session:
        rows = session.execute(runs.where(DagRun.run_id.in_(list(run_ids)), DagRun.dag_id.in_(list(dag_ids)))).all()
    # The last entry of a run id wins, so the first of `dag_ids` comes last.
    return dict(sorted(((run_id, dag_id) for run_id, dag_id in rows), key=lambda run: -dag_ids.index(run[1])))
