"""`tests.support.stack.runs` for Airflow 2.11."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from tests.support.stack.servers import unique_name

if TYPE_CHECKING:
    from airflow.models.baseoperator import BaseOperator
    from airflow.models.dag import DAG
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

PERIOD = timedelta(minutes=15)


def scheduled_run(dag: DAG, interval_end: datetime) -> DagRun:
    """A scheduled run for the interval of one period that ends at `interval_end` (UTC)."""
    return _run(dag, "scheduled", interval_end)


def manual_run(dag: DAG, now: datetime, conf: dict[str, object] | None = None) -> DagRun:
    """A triggered run."""
    return _run(dag, "manual", now, conf)


def stored(dag: DAG) -> DAG:
    """The DAG as the scheduler has it, known to Airflow's database."""
    from airflow.models.dag import DAG
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session

    with quiet(), create_session() as session:
        DAG.bulk_write_to_db([dag], session=session)
        SerializedDagModel.write_dag(dag, session=session)
    return dag


def _run(dag: DAG, run_type: str, end: datetime, conf: dict[str, object] | None = None) -> DagRun:
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunType

    with quiet():
        run: DagRun = dag.create_dagrun(
            run_id=unique_name(run_type),
            run_type=DagRunType(run_type),
            state=DagRunState.RUNNING,
            execution_date=end - PERIOD,
            data_interval=(end - PERIOD, end),
            start_date=end,
            conf=conf,
        )
    return run


def task_instance(run: DagRun, task: BaseOperator) -> TaskInstance:
    """The run's instance of a task."""
    (instance,) = [found for found in run.get_task_instances() if found.task_id == task.task_id]
    instance.refresh_from_task(task)
    return instance


@contextmanager
def task_context(run: DagRun, task: BaseOperator) -> Iterator[Any]:
    """The context of a task, as it is given to the task."""
    yield task_instance(run, task).get_template_context()


def attempt(run: DagRun, task: BaseOperator) -> TaskInstance:
    """Run one attempt of a task like a worker, and return the instance with its state. Raises what the task raises.

    The conditions of the task (upstream tasks, pools) are ignored.
    """
    from airflow.utils.session import create_session

    instance = task_instance(run, task)
    with quiet():
        instance.try_number += 1  # the scheduler's part
        with create_session() as session:
            session.merge(instance)
        try:
            instance.run(ignore_all_deps=True, ignore_ti_state=True)
        finally:
            instance.refresh_from_db()
    return instance


def whole_run(dag: DAG) -> DagRun:
    """A triggered run of the whole DAG, task after task."""
    with quiet():
        return dag.test(execution_date=datetime.now(timezone.utc))


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore Airflow's warnings about its own internals."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(airflow|flask|sqlalchemy|connexion|pendulum)(\..*)?")
        yield
