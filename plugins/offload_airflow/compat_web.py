"""What the page needs of Airflow beside a web server, which `airflow2.web` and `airflow3.web` are: addresses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from sqlalchemy import select

from offload_airflow.airflow_line import AIRFLOW_3

if AIRFLOW_3:
    from offload_airflow.airflow3.addresses import dag_url, log_url, run_url
else:
    from offload_airflow.airflow2.addresses import dag_url, log_url, run_url

__all__ = ["dag_url", "log_url", "run_url", "runs_known"]


def runs_known(run_ids: Iterable[str], dag_ids: Sequence[str]) -> dict[str, str]:
    """The DAGs of those runs that Airflow knows, by run id; where several DAGs have a run of an id, the first of `dag_ids`."""
    runs = select(DagRun.run_id, DagRun.dag_id)
    with create_session() as session:
        rows = session.execute(runs.where(DagRun.run_id.in_(list(run_ids)), DagRun.dag_id.in_(list(dag_ids)))).all()
    return dict(sorted(((run_id, dag_id) for run_id, dag_id in rows), key=lambda run: -dag_ids.index(run[1])))
