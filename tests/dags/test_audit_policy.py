"""What the audit's DAG promises, read from the DAG that Airflow loads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from offload_airflow.compat.sdk import DAG, TriggerRule
from offload_core.config.tables import DEFAULT_TABLES
from tests.support.stack.airflow_version import schedule, weights

DAG_ID = "iceberg_offload_audit"
TABLES = [table.name for table in DEFAULT_TABLES]

LoadDag = Callable[..., DAG]
SetVariable = Callable[[str, object], None]


@pytest.fixture
def dag(load_dag: LoadDag) -> DAG:
    return load_dag(DAG_ID)


def test_every_table_is_audited_repaired_and_looked_at_again_whatever_becomes_of_the_others(dag: DAG) -> None:
    steps = [f"{step}_{name}" for name in TABLES for step in ("audit", "repair", "look_again")]
    assert set(dag.task_ids) == {*steps, "close_audit"}
    for name in TABLES:
        assert dag.get_task(f"audit_{name}").upstream_task_ids == set()
        assert dag.get_task(f"repair_{name}").upstream_task_ids == {f"audit_{name}"}
        assert dag.get_task(f"look_again_{name}").upstream_task_ids == {f"repair_{name}"}
        assert dag.get_task(f"look_again_{name}").trigger_rule == TriggerRule.ALL_DONE
    close = dag.get_task("close_audit")
    assert close.upstream_task_ids == {f"look_again_{name}" for name in TABLES}
    assert close.trigger_rule == TriggerRule.ALL_DONE


def test_it_runs_every_hour_without_catching_up_and_never_twice_at_once(dag: DAG) -> None:
    assert schedule(dag) == "35 * * * *"
    assert dag.timezone.name == "UTC"
    assert dag.start_date == datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert (dag.catchup, dag.max_active_runs, dag.max_active_tasks) == (False, 1, 2)


def test_the_hour_and_the_time_limit_are_settings(load_dag: LoadDag, set_variable: SetVariable) -> None:
    set_variable("iceberg_offload_settings", {"audit_schedule": "5 */2 * * *", "audit_timeout_minutes": 7})
    dag = load_dag(DAG_ID)
    assert schedule(dag) == "5 */2 * * *"
    assert dag.get_task(f"audit_{TABLES[0]}").execution_timeout == timedelta(minutes=7)


def test_its_spark_jobs_let_the_offload_go_first(dag: DAG, load_dag: LoadDag) -> None:
    offload = load_dag("iceberg_offload")
    theirs, ours = weights(offload), weights(dag)
    least = min(theirs[task.task_id] for task in offload.tasks if task.pool == "iceberg_offload")
    for task in dag.tasks:
        is_job = task.task_id.startswith("repair_")
        assert task.pool == ("iceberg_offload" if is_job else "default_pool"), task
        assert not is_job or ours[task.task_id] < least, task


def test_every_task_has_three_attempts_a_minute_apart_an_owner_and_a_timeout(dag: DAG) -> None:
    for task in dag.tasks:
        assert (task.retries, task.retry_delay, task.owner) == (2, timedelta(seconds=60), "data-platform"), task
        assert task.task_id == "close_audit" or task.execution_timeout == timedelta(minutes=20), task


def test_it_says_what_it_is(dag: DAG) -> None:
    assert str(dag.doc_md).startswith("### Audit of the Iceberg offload")
    assert set(dag.tags) >= {"iceberg", "offload", "audit"}
