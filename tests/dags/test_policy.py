"""What the offload's DAG promises, read from the DAG that Airflow loads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from offload_airflow.compat.sdk import DAG, BaseOperator, TriggerRule
from offload_airflow.operators.offload_submit import OffloadSubmitOperator
from offload_airflow.sensors.watermark import WatermarkSensor
from tests.support.stack.airflow_version import (
    AIRFLOW_3,
    due_runs,
    late_callback,
    lateness,
    parsed,
    plugins_found,
    schedule,
)

BRONZE = ("bronze_trades_binance", "bronze_trades_kraken")
SILVER = ("silver_trades",)
GOLD = ("gold_ohlcv_1m", "gold_ohlcv_5m", "gold_ohlcv_15m", "gold_ohlcv_30m", "gold_ohlcv_1h", "gold_ohlcv_1d")
TABLES = (
    *(("bronze", table) for table in BRONZE),
    *(("silver", table) for table in SILVER),
    *(("gold", table) for table in GOLD),
)


@pytest.fixture
def dag(load_dag: Callable[[], DAG]) -> DAG:
    return load_dag()


def offloads(layer: str, tables: tuple[str, ...]) -> set[str]:
    return {f"{layer}.offload_{table}" for table in tables}


def waits(layer: str, tables: tuple[str, ...]) -> set[str]:
    return {f"{layer}.wait_{table}" for table in tables}


def all_attempts(task: BaseOperator) -> timedelta:
    """How long a task may take with all its retries and the pauses between."""
    assert task.execution_timeout is not None, task
    assert task.retries is not None, task
    assert isinstance(task.retry_delay, timedelta), task
    return (task.retries + 1) * task.execution_timeout + task.retries * task.retry_delay


def test_the_dag_has_exactly_a_sensor_and_a_spark_task_per_table_between_an_opening_and_a_closing_task(
    dag: DAG,
) -> None:
    pairs = {f"{layer}.{kind}_{table}" for layer, table in TABLES for kind in ("wait", "offload")}
    assert set(dag.task_ids) == pairs | {"open_cycle", "close_cycle"}
    assert len(dag.task_ids) == 20


def test_the_tables_lie_in_the_groups_of_their_layers(dag: DAG) -> None:
    assert set(dag.task_group.get_task_group_dict()) == {None, "bronze", "silver", "gold"}


def test_it_runs_every_quarter_of_an_hour_one_run_at_a_time_and_never_for_the_past(dag: DAG) -> None:
    assert type(dag.timetable).__name__ == "CronDataIntervalTimetable"
    assert schedule(dag) == "*/15 * * * *"
    hour = datetime(2026, 3, 1, 10, tzinfo=timezone.utc)
    first, second = due_runs(dag, hour + timedelta(minutes=7), hour + timedelta(minutes=31))
    assert first.data_interval.end == datetime(2026, 3, 1, 10, 30, tzinfo=timezone.utc)
    assert second.data_interval.start == datetime(2026, 3, 1, 10, 30, tzinfo=timezone.utc)
    assert dag.max_active_runs == 1
    assert dag.catchup is False
    assert dag.start_date == datetime(2026, 1, 1, tzinfo=timezone.utc)


def test_every_table_is_offloaded_after_its_own_sensor_and_only_if_that_succeeded(dag: DAG) -> None:
    for layer, table in TABLES:
        task = dag.get_task(f"{layer}.offload_{table}")
        assert task.upstream_task_ids == {f"{layer}.wait_{table}"}, task
        assert task.trigger_rule == TriggerRule.ALL_SUCCESS, task
        assert isinstance(task, OffloadSubmitOperator)
        assert task.table == table


def test_a_layer_begins_when_the_one_before_is_done_whatever_became_of_it(dag: DAG) -> None:
    before = {"bronze": {"open_cycle"}, "silver": offloads("bronze", BRONZE), "gold": offloads("silver", SILVER)}
    for layer, table in TABLES:
        task = dag.get_task(f"{layer}.wait_{table}")
        assert task.upstream_task_ids == before[layer], task
        assert task.trigger_rule == TriggerRule.ALL_DONE, task


def test_the_closing_task_is_behind_everything_and_runs_whatever_became_of_it(dag: DAG) -> None:
    closing = dag.get_task("close_cycle")
    assert closing.upstream_task_ids == offloads("gold", GOLD)
    assert closing.get_flat_relative_ids(upstream=True) == set(dag.task_ids) - {"close_cycle"}
    assert closing.trigger_rule == TriggerRule.ALL_DONE
    assert dag.leaves == [closing]


def test_sensors_give_their_slot_back_between_looks(dag: DAG) -> None:
    sensors = [task for task in dag.tasks if isinstance(task, WatermarkSensor)]
    assert len(sensors) == len(TABLES)
    for task in sensors:
        assert task.mode == "reschedule", task
        assert task.poke_interval == 10, task
        assert not task.soft_fail, task


def test_every_task_has_three_attempts_a_minute_apart(dag: DAG) -> None:
    for task in dag.tasks:
        assert task.retries == 2, task
        assert task.retry_delay == timedelta(seconds=60), task
        assert not task.retry_exponential_backoff, task
        assert not task.depends_on_past, task


def test_three_attempts_of_a_table_and_the_pauses_between_fit_the_period(dag: DAG) -> None:
    tasks = [task for task in dag.tasks if isinstance(task, OffloadSubmitOperator | WatermarkSensor)]
    assert len(tasks) == 2 * len(TABLES)
    for task in tasks:
        assert all_attempts(task) <= timedelta(minutes=15), task


def test_a_stuck_table_in_every_layer_does_not_end_the_run_before_the_last_layer(dag: DAG) -> None:
    assert dag.dagrun_timeout is not None
    assert dag.dagrun_timeout >= 3 * all_attempts(dag.get_task("gold.offload_gold_ohlcv_1m"))


def test_only_spark_tasks_take_a_slot_of_the_offload_pool(dag: DAG) -> None:
    for task in dag.tasks:
        expected = "iceberg_offload" if isinstance(task, OffloadSubmitOperator) else "default_pool"
        assert task.pool == expected, task


def test_every_spark_task_has_an_sla_and_the_dag_says_what_to_do_when_it_is_missed(
    dag: DAG,
) -> None:
    jobs = {task.task_id for task in dag.tasks if isinstance(task, OffloadSubmitOperator)}
    assert lateness(dag) == dict.fromkeys({"DagRunQueuedAtDeadline"} if AIRFLOW_3 else jobs, timedelta(minutes=5))
    callback = "deadline_missed" if AIRFLOW_3 else "sla_miss_callback"
    assert late_callback(dag) == f"offload_airflow.callbacks.sla.{callback}"


def test_the_dag_says_what_it_is_and_whose(dag: DAG) -> None:
    assert {task.owner for task in dag.tasks} == {"data-platform"}
    assert str(dag.doc_md).startswith("### Iceberg offload")
    assert set(dag.tags) >= {"iceberg", "clickhouse", "offload"}


def test_the_trigger_form_offers_every_table_and_its_defaults_ask_for_an_ordinary_run(dag: DAG) -> None:
    assert list(dag.params) == ["mode", "tables", "layers", "from", "to"]
    assert dag.params.get_param("tables").schema["examples"] == [table for _, table in TABLES]
    assert dag.params.get_param("layers").schema["examples"] == ["bronze", "silver", "gold"]
    assert dag.params.dump() == {"mode": "offload", "tables": [], "layers": [], "from": None, "to": None}


@pytest.mark.usefixtures("airflow_database")
def test_no_dag_file_has_import_errors() -> None:
    bag = parsed()
    assert bag.dags
    assert not bag.import_errors


@pytest.mark.usefixtures("airflow_database")
def test_airflow_finds_the_page_and_takes_none_of_the_packages_for_a_plugin() -> None:
    plugins, errors = plugins_found()
    assert not errors
    assert [plugin.name for plugin in plugins if "offload" in str(plugin.source)] == ["iceberg_offload"]
