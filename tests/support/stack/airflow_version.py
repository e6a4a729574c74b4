"""What tests ask of Airflow that its two lines, 2.11 and 3, have in their own ways."""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pendulum

AIRFLOW_3 = not importlib.metadata.version("apache-airflow").startswith("2.")

LINE_PLUGIN = (
    [
        "offload_airflow.compat.v3",
        "offload_airflow.compat.v3.plugin",
        "offload_airflow.compat.v3.scheduler_duties",
    ]
    if AIRFLOW_3
    else ["offload_airflow.compat.v2", "offload_airflow.compat.v2.plugin"]
)
"""What the plugin file imports of its line's own."""


def environment() -> dict[str, str]:
    """Variables that only one line knows."""
    if AIRFLOW_3:
        # A DAG that a test has changed is another one at once.
        return {"AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0"}
    return {"AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY": "True"}


DAG_BAG = "airflow.dag_processing.dagbag" if AIRFLOW_3 else "airflow.models.dagbag"
"""The module that has the class DagBag."""


def parsed() -> Any:
    """All of the package's DAG files, parsed anew: an Airflow DagBag."""
    return importlib.import_module(DAG_BAG).DagBag()


def failure_callbacks(task: Any) -> Sequence[Callable[..., None]]:
    """What is called when a task has failed for good."""
    return _callbacks(task.on_failure_callback)


def retry_callbacks(task: Any) -> Sequence[Callable[..., None]]:
    """What is called when a task will be tried again."""
    return _callbacks(task.on_retry_callback)


def _callbacks(value: Any) -> Sequence[Callable[..., None]]:
    return list(value) if isinstance(value, Sequence) else [value] if value else []


def due_runs(dag: Any, start: datetime, end: datetime) -> list[Any]:
    """What the scheduler would start between two moments: objects with `run_after` and `data_interval`."""
    if not AIRFLOW_3:
        return list(dag.iter_dagrun_infos_between(pendulum.instance(start), pendulum.instance(end)))
    return list(scheduler_side(dag).iter_dagrun_infos_between(pendulum.instance(start), pendulum.instance(end)))


def scheduler_side(dag: Any) -> Any:
    """The DAG as the scheduler has it."""
    if not AIRFLOW_3:
        return dag
    from airflow.serialization.serialized_objects import DagSerialization

    return DagSerialization.from_dict(DagSerialization.to_dict(dag))


def schedule(dag: Any) -> str:
    """The DAG's cron expression."""
    return str(scheduler_side(dag).timetable.summary)


def lateness(dag: Any) -> Mapping[str, timedelta]:
    """After how long what is late: tasks of 2.11 by id, runs of 3 by what they are counted from; empty where nothing is."""
    if not AIRFLOW_3:
        return {task.task_id: task.sla for task in dag.tasks if task.sla is not None}
    return {alert.reference.reference_name: alert.interval for alert in dag.deadline or []}


def migrate() -> None:
    """Make Airflow's own database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Airflow's own dependencies hold against each other
        from airflow.utils import db

        db.initdb()


def late_callback(dag: Any) -> str:
    """The dotted path of what is called when something is late."""
    if AIRFLOW_3:
        (alert,) = dag.deadline
        return str(alert.callback.path)
    return f"{dag.sla_miss_callback.__module__}.{dag.sla_miss_callback.__qualname__}"


def plugins_found() -> tuple[list[Any], dict[str, str]]:
    """Airflow's plugins, and why others could not be imported."""
    from airflow import plugins_manager

    if AIRFLOW_3:
        return list(plugins_manager._get_plugins()[0]), dict(plugins_manager.get_import_errors())
    plugins_manager.ensure_plugins_loaded()
    return list(plugins_manager.plugins or []), dict(plugins_manager.import_errors)


def weights(dag: Any) -> dict[str, int]:
    """How much each task counts where several wait for a slot of one pool, by task id."""
    if not AIRFLOW_3:
        return {task.task_id: task.priority_weight_total for task in dag.tasks}
    tasks = scheduler_side(dag).tasks
    return {task.task_id: task.weight_rule.get_weight(SimpleNamespace(task=task)) for task in tasks}


def dag_run(dag_id: str, run_id: str, start: datetime, end: datetime | None = None, **fields: Any) -> Any:
    """A row for Airflow's table of runs.

    Args:
        start, end: of the data interval.
    """
    from airflow.models.dagrun import DagRun

    if end is not None:
        fields["data_interval"] = (start, end)
    if AIRFLOW_3:
        return DagRun(dag_id=dag_id, run_id=run_id, logical_date=start, run_after=end or start, **fields)
    return DagRun(dag_id=dag_id, run_id=run_id, execution_date=start, **fields)


def known_dag(dag_id: str, file: str, *, paused: bool) -> Any:
    """A row for Airflow's table of DAGs.

    Args:
        file: its path below the folder of DAGs.
    """
    from airflow.models.dag import DagModel

    if not AIRFLOW_3:
        return DagModel(dag_id=dag_id, is_active=True, is_paused=paused, fileloc=file)
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    DagBundlesManager().sync_bundles_to_db()
    return DagModel(
        dag_id=dag_id,
        is_stale=False,
        is_paused=paused,
        fileloc=f"/dags/{file}",
        relative_fileloc=file,
        bundle_name="dags-folder",
        max_active_tasks=16,
        has_task_concurrency_limits=False,
    )


def forget(*models: Any, **of: str) -> None:
    """Delete all rows of Airflow's tables, or those whose columns have these values."""
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        for model in models:
            session.execute(delete(model).filter_by(**of))


def stored_xcoms() -> Any:
    """Airflow's table of XComs."""
    from airflow.models import xcom

    return xcom.XComModel if AIRFLOW_3 else xcom.XCom


def told_to_end() -> type[BaseException]:
    """What a task raises whose process is told to end: 2.11 raises something of its own, 3 only calls `on_kill`."""
    from airflow import exceptions

    return exceptions.AirflowException if AIRFLOW_3 else exceptions.AirflowTaskTerminated


def forget_dag(dag_id: str) -> None:
    """Delete what `known_dag` has made, and on 3, where runs bring more along, all that Airflow's database has of the DAG."""
    from airflow.api.common.delete_dag import delete_dag
    from airflow.models.dag import DagModel

    if not AIRFLOW_3:
        forget(DagModel, dag_id=dag_id)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        delete_dag(dag_id)
