"""What tests need from Airflow that differs between 2.11 and 3."""

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

VERSION_MODULES = (
    [
        "offload_airflow.compat.v3",
        "offload_airflow.compat.v3.plugin",
        "offload_airflow.compat.v3.scheduler_duties",
    ]
    if AIRFLOW_3
    else ["offload_airflow.compat.v2", "offload_airflow.compat.v2.plugin"]
)
"""The modules of the installed version that the plugin file imports."""


def environment() -> dict[str, str]:
    """Environment variables that only one version knows."""
    if AIRFLOW_3:
        # Store a DAG that a test has changed at once.
        return {"AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0"}
    return {"AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY": "True"}


DAG_BAG = "airflow.dag_processing.dagbag" if AIRFLOW_3 else "airflow.models.dagbag"
"""The module with the class DagBag."""


def parsed() -> Any:
    """An Airflow DagBag with all DAG files of the package, parsed again."""
    return importlib.import_module(DAG_BAG).DagBag()


def failure_callbacks(task: Any) -> Sequence[Callable[..., None]]:
    """The callbacks for a task that has failed for good."""
    return _callbacks(task.on_failure_callback)


def retry_callbacks(task: Any) -> Sequence[Callable[..., None]]:
    """The callbacks for a task that will be retried."""
    return _callbacks(task.on_retry_callback)


def _callbacks(value: Any) -> Sequence[Callable[..., None]]:
    return list(value) if isinstance(value, Sequence) else [value] if value else []


def due_runs(dag: Any, start: datetime, end: datetime) -> list[Any]:
    """The runs that the scheduler would start between two moments: objects with `run_after` and `data_interval`."""
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
    """The time limits for being late.

    In 2.11 they belong to tasks, by id. In 3 they belong to runs, by the name of their reference.
    """
    if not AIRFLOW_3:
        return {task.task_id: task.sla for task in dag.tasks if task.sla is not None}
    return {alert.reference.reference_name: alert.interval for alert in dag.deadline or []}


def migrate() -> None:
    """Create Airflow's own database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of Airflow's dependencies about each other
        from airflow.utils import db

        db.initdb()


def late_callback(dag: Any) -> str:
    """The dotted path of the callback for late tasks or runs."""
    if AIRFLOW_3:
        (alert,) = dag.deadline
        return str(alert.callback.path)
    return f"{dag.sla_miss_callback.__module__}.{dag.sla_miss_callback.__qualname__}"


def plugins_found() -> tuple[list[Any], dict[str, str]]:
    """Airflow's plugins, and the import errors of others."""
    from airflow import plugins_manager

    if AIRFLOW_3:
        return list(plugins_manager._get_plugins()[0]), dict(plugins_manager.get_import_errors())
    plugins_manager.ensure_plugins_loaded()
    return list(plugins_manager.plugins or []), dict(plugins_manager.import_errors)


def weights(dag: Any) -> dict[str, int]:
    """The priority of each task when several wait for a slot of one pool, by task id."""
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


def termination() -> type[BaseException]:
    """The exception of a task whose process is terminated. 2.11 raises one itself; 3 only calls `on_kill`."""
    from airflow import exceptions

    return exceptions.AirflowException if AIRFLOW_3 else exceptions.AirflowTaskTerminated


def forget_dag(dag_id: str) -> None:
    """Delete the row of `known_dag`. On 3, where runs create more rows, delete everything about the DAG."""
    from airflow.api.common.delete_dag import delete_dag
    from airflow.models.dag import DagModel

    if not AIRFLOW_3:
        forget(DagModel, dag_id=dag_id)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        delete_dag(dag_id)
