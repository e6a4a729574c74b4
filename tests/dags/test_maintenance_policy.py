"""What the maintenance's DAG promises, read from the DAG that Airflow loads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from offload_airflow.compat.sdk import DAG, TriggerRule
from offload_airflow.operators.maintenance import MaintainTableOperator
from offload_core.config.tables import DEFAULT_TABLES
from tests.support.stack.airflow_version import schedule, weights

DAG_ID = "iceberg_offload_maintenance"
TABLES = [table.name for table in DEFAULT_TABLES]

LoadDag = Callable[..., DAG]
SetVariable = Callable[[str, object], None]


@pytest.fixture
def dag(load_dag: LoadDag) -> DAG:
    return load_dag(DAG_ID)


def test_it_has_a_task_per_table_the_clean_up_of_ledger_and_logs_and_a_closing_task(dag: DAG) -> None:
    assert set(dag.task_ids) == {
        *(f"maintain_{name}" for name in TABLES),
        "clean_ledger",
        "clean_logs",
        "close_maintenance",
    }


def test_it_runs_once_a_day_at_a_quiet_hour_without_catching_up_and_never_twice_at_once(dag: DAG) -> None:
    assert schedule(dag) == "30 3 * * *"
    assert dag.timezone.name == "UTC"
    assert dag.start_date == datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert dag.catchup is False
    assert dag.max_active_runs == 1
    assert dag.dagrun_timeout == timedelta(days=1)


def test_the_hour_is_a_setting(load_dag: LoadDag, set_variable: SetVariable) -> None:
    set_variable("iceberg_offload_settings", {"maintenance_schedule": "0 5 * * 0"})
    assert schedule(load_dag(DAG_ID)) == "0 5 * * 0"


def test_it_takes_one_slot_of_the_offloads_pool_at_most_and_lets_the_offload_go_first(
    dag: DAG, load_dag: LoadDag
) -> None:
    assert dag.max_active_tasks == 1
    offload = load_dag("iceberg_offload")
    theirs, ours = weights(offload), weights(dag)
    least = min(theirs[task.task_id] for task in offload.tasks if task.pool == "iceberg_offload")
    for task in dag.tasks:
        is_job = isinstance(task, MaintainTableOperator)
        assert task.pool == ("iceberg_offload" if is_job else "default_pool"), task
        assert not is_job or ours[task.task_id] < least, task


def test_no_task_waits_for_another_tables_and_the_closing_one_waits_for_all_whatever_becomes_of_them(dag: DAG) -> None:
    close = dag.get_task("close_maintenance")
    assert close.upstream_task_ids == set(dag.task_ids) - {"close_maintenance"}
    assert close.trigger_rule == TriggerRule.ALL_DONE
    assert not close.downstream_task_ids
    for task in dag.tasks:
        assert task is close or not task.upstream_task_ids, task


def test_every_task_has_three_attempts_a_minute_apart_and_every_job_a_timeout(dag: DAG) -> None:
    for task in dag.tasks:
        assert task.retries == 2, task
        assert task.retry_delay == timedelta(seconds=60), task
        assert not task.depends_on_past, task
        assert task.task_id == "close_maintenance" or task.execution_timeout == timedelta(hours=1), task


def test_it_says_what_it_is_and_whose(dag: DAG) -> None:
    assert {task.owner for task in dag.tasks} == {"data-platform"}
    assert str(dag.doc_md).startswith("### Maintenance of the Iceberg tables")
    assert set(dag.tags) >= {"iceberg", "offload", "maintenance"}


def test_the_trigger_form_offers_every_table_and_its_default_is_all(dag: DAG) -> None:
    assert list(dag.params) == ["tables"]
    assert dag.params.get_param("tables").schema["examples"] == TABLES
    assert dag.params.dump() == {"tables": []}


def test_a_broken_entry_gets_its_task_and_a_disabled_one_none(load_dag: LoadDag, set_variable: SetVariable) -> None:
    good = DEFAULT_TABLES[0].model_dump(mode="json")
    off = {**DEFAULT_TABLES[1].model_dump(mode="json"), "enabled": False}
    broken = {**DEFAULT_TABLES[2].model_dump(mode="json"), "partition": "week"}
    set_variable("iceberg_offload_tables", [good, off, broken])
    tasks = set(load_dag(DAG_ID).task_ids) - {"clean_ledger", "clean_logs", "close_maintenance"}
    assert tasks == {"maintain_bronze_trades_binance", "maintain_silver_trades"}
