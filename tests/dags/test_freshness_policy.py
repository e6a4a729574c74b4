"""What the freshness DAG promises, and that the tasks of every DAG notify when they fail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from offload_airflow.callbacks.failure import job_failed, table_failed
from offload_airflow.compat.sdk import DAG
from offload_airflow.dag_ids import DAG_IDS
from offload_airflow.operators.freshness import FreshnessOperator
from offload_core.config.tables import DEFAULT_TABLES
from tests.support.stack.airflow_version import due_runs, failure_callbacks, parsed, retry_callbacks, schedule

DAG_ID = "iceberg_offload_freshness"

LoadDag = Callable[..., DAG]
SetVariable = Callable[[str, object], None]


@pytest.fixture
def dag(load_dag: LoadDag) -> DAG:
    return load_dag(DAG_ID)


def test_it_has_one_task_with_one_attempt_that_ends_before_the_next_look(dag: DAG) -> None:
    (task,) = dag.tasks
    assert isinstance(task, FreshnessOperator)
    assert (task.task_id, task.retries, task.pool, task.owner) == ("freshness", 0, "default_pool", "data-platform")
    assert task.execution_timeout == timedelta(minutes=4)
    assert not task.depends_on_past


def test_it_looks_every_five_minutes_three_minutes_after_a_cycle_began(dag: DAG) -> None:
    hour = datetime(2026, 3, 1, 10, tzinfo=timezone.utc)
    times = [run.run_after for run in due_runs(dag, hour, hour + timedelta(minutes=20))]
    assert [moment.minute for moment in times] == [8, 13, 18, 23]
    assert (dag.catchup, dag.max_active_runs) == (False, 1)
    assert dag.start_date == datetime(2026, 1, 1, tzinfo=timezone.utc)


def test_how_often_is_a_setting(load_dag: LoadDag, set_variable: SetVariable) -> None:
    set_variable("iceberg_offload_settings", {"freshness_schedule": "*/2 * * * *"})
    assert schedule(load_dag(DAG_ID)) == "*/2 * * * *"


def test_it_says_what_it_is_and_who_is_told(dag: DAG) -> None:
    assert str(dag.doc_md).startswith("### Freshness of the Iceberg tables")
    assert "alert_recipients" in str(dag.doc_md)
    assert set(dag.tags) >= {"iceberg", "clickhouse", "offload"}


@pytest.mark.parametrize("dag_id", ["iceberg_offload", "iceberg_offload_audit"])
def test_every_table_tells_when_it_fails_for_good(load_dag: LoadDag, dag_id: str) -> None:
    monitored = [task for task in load_dag(dag_id).tasks if hasattr(task, "table")]
    assert {task.table for task in monitored} == {table.name for table in DEFAULT_TABLES}
    for task in monitored:
        assert failure_callbacks(task) == [table_failed], task
        assert retry_callbacks(task) == [], task


@pytest.mark.parametrize(
    ("dag_id", "last"),
    [
        ("iceberg_offload_audit", "close_audit"),
        ("iceberg_offload_maintenance", "close_maintenance"),
        ("iceberg_offload_report", "report"),
    ],
)
def test_the_last_task_of_the_other_dags_tells_when_it_fails_and_no_other(
    load_dag: LoadDag, dag_id: str, last: str
) -> None:
    for task in load_dag(dag_id).tasks:
        assert (failure_callbacks(task) == [job_failed]) == (task.task_id == last), task


def test_airflow_itself_mails_nobody_besides(load_dag: LoadDag) -> None:
    for dag_id in DAG_IDS:
        tasks = load_dag(dag_id).tasks
        assert tasks, dag_id
        assert [task for task in tasks if task.email] == [], dag_id


@pytest.mark.usefixtures("airflow_database")
def test_every_dag_of_the_package_is_known_by_name() -> None:
    assert set(parsed().dag_ids) == set(DAG_IDS)
