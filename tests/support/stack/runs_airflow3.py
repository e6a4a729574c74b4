"""`tests.support.stack.runs` for Airflow 3: tasks ask its real API, in this very process."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from tests.support.stack.servers import unique_name

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk import DAG, BaseOperator
    from airflow.serialization.definitions.dag import SerializedDAG

PERIOD = timedelta(minutes=15)


def scheduled_run(dag: DAG, interval_end: datetime, *, queued: bool = False) -> DagRun:
    """A scheduled run for the interval of one period that ends at `interval_end` (UTC)."""
    return _run(dag, "scheduled", interval_end, queued=queued)


def manual_run(dag: DAG, now: datetime, conf: dict[str, object] | None = None) -> DagRun:
    """A triggered run."""
    return _run(dag, "manual", now, conf)


def stored(dag: DAG) -> SerializedDAG:
    """The DAG as the scheduler has it, known to Airflow's database."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session

    with quiet():
        bag = DagBag(collect_dags=False)
        bag.dags[dag.dag_id] = dag
        DagBundlesManager().sync_bundles_to_db()
        sync_bag_to_db(bag, "dags-folder", None)
        with create_session() as session:
            found = SerializedDagModel.get_dag(dag.dag_id, session=session)
            assert found is not None
            return found


def _run(
    dag: DAG, run_type: str, end: datetime, conf: dict[str, object] | None = None, *, queued: bool = False
) -> DagRun:
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    with quiet():
        return stored(dag).create_dagrun(
            run_id=unique_name(run_type),
            run_type=DagRunType(run_type),
            state=DagRunState.QUEUED if queued else DagRunState.RUNNING,
            logical_date=end - PERIOD,
            data_interval=(end - PERIOD, end),
            run_after=end,
            start_date=None if queued else end,
            conf=conf,
            triggered_by=DagRunTriggeredByType.TEST,
        )


def task_instance(run: DagRun, task: BaseOperator) -> TaskInstance:
    """The run's instance of a task."""
    (instance,) = [found for found in run.get_task_instances() if found.task_id == task.task_id]
    return instance


@contextmanager
def task_context(run: DagRun, task: BaseOperator) -> Iterator[Any]:
    """The context of a task, as it is given to the task, where it can ask Airflow's API."""
    import psutil
    import structlog
    from airflow.sdk.execution_time.supervisor import (
        InProcessSupervisorComms,
        InProcessTestSupervisor,
        set_supervisor_comms,
    )
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    now = datetime.now(timezone.utc)
    with quiet():
        what = _queued(task_instance(run, task))
        supervisor = InProcessTestSupervisor(
            id=what.id,
            pid=os.getpid(),
            process=psutil.Process(),
            process_log=structlog.get_logger(),
            client=InProcessTestSupervisor._api_client(task.dag),
        )
        supervisor.comms = InProcessSupervisorComms(supervisor=supervisor)
        supervisor.ti = what
        with set_supervisor_comms(supervisor.comms):
            answer = supervisor.client.task_instances.start(what.id, os.getpid(), now)
            instance = RuntimeTaskInstance.model_construct(
                **what.model_dump(), task=task, _ti_context_from_server=answer, start_date=now
            )
            yield instance.get_template_context()


def attempt(run: DagRun, task: BaseOperator) -> TaskInstance:
    """Run one attempt of a task like a worker, and return the instance with its state. Raises what the task raises.

    The conditions of the task (upstream tasks, pools) are ignored.
    """
    from airflow.sdk.execution_time.supervisor import run_task_in_process

    instance = task_instance(run, task)
    with quiet():
        what = _queued(instance)
        with _standard_logs():
            answer = run_task_in_process(what, task)
        instance.refresh_from_db()
    if answer.error is not None and instance.state != "skipped":
        raise answer.error
    return instance


def _queued(instance: TaskInstance) -> Any:
    """The next attempt, as the scheduler gives it to a worker."""
    from airflow.sdk.api.datamodels._generated import TaskInstance as ToRun
    from airflow.utils.session import create_session

    instance.try_number += 1
    instance.state = "queued"
    with create_session() as session:
        session.merge(instance)
    fields = ("id", "task_id", "dag_id", "run_id", "try_number", "map_index", "dag_version_id")
    return ToRun(**{field: getattr(instance, field) for field in fields})


def _in_words(_logger: Any, _method: str, event: Any) -> Any:
    """A log entry whose text has all that belongs to it."""
    kept = {key: event.pop(key) for key in ("event", "exc_info", "stack_info", "stacklevel") if key in event}
    more = "".join(f" {key}={value}" for key, value in event.items())
    return {**kept, "event": f"{kept['event']}{more}"}


@contextmanager
def _standard_logs() -> Iterator[None]:
    """What tasks log goes through `logging`, where pytest looks for it, and not through structlog alone."""
    import structlog

    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.stdlib.PositionalArgumentsFormatter(), _in_words, structlog.stdlib.render_to_log_kwargs],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def whole_run(dag: DAG) -> DagRun:
    """A triggered run of the whole DAG, task after task. Airflow's `dag.test` fails if a DAG has a deadline (3.3.2)."""
    from airflow.utils.session import create_session

    run = manual_run(dag, datetime.now(timezone.utc))
    states: dict[str, str | None] = {}
    while True:
        before = states
        with quiet(), create_session() as session:
            run = session.merge(run, load=True)
            run.dag = stored(dag)
            ready, _ = run.update_state(session=session)
            todo = [instance.task_id for instance in ready]
            states = {instance.task_id: instance.state for instance in run.get_task_instances(session=session)}
        if not todo and states == before:
            return run
        for task_id in todo:
            with suppress(Exception):  # its state says it
                attempt(run, dag.get_task(task_id))


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore Airflow's warnings about its own internals."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(airflow|sqlalchemy|pendulum|fastapi|starlette|httpx|cadwyn)(\..*)?")
        yield
