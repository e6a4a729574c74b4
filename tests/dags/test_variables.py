"""The DAG follows the Airflow Variables, and says so when they are wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from offload_airflow.compat.sdk import DAG
from tests.support.checkout import CHECKOUT
from tests.support.stack.airflow_home import process_environment
from tests.support.stack.airflow_version import DAG_BAG, lateness, parsed, schedule

TABLES, SETTINGS = "iceberg_offload_tables", "iceberg_offload_settings"
TRADES = {
    "source": "trades",
    "target": "cold.trades",
    "layer": "bronze",
    "timestamp_col": "at",
    "keys": ["id"],
}

LoadDag = Callable[[], DAG]
SetVariable = Callable[[str, object], None]


def pairs(dag: DAG) -> set[str]:
    return set(dag.task_ids) - {"open_cycle", "close_cycle"}


def test_unset_variables_give_the_nine_shipped_tables(load_dag: LoadDag) -> None:
    assert len(pairs(load_dag())) == 18


def test_a_table_of_the_variable_gets_its_pair_of_tasks(load_dag: LoadDag, set_variable: SetVariable) -> None:
    set_variable(TABLES, [TRADES])
    assert pairs(load_dag()) == {"bronze.wait_trades", "bronze.offload_trades"}


def test_a_disabled_table_is_left_out_and_the_layers_close_ranks(load_dag: LoadDag, set_variable: SetVariable) -> None:
    candles = {**TRADES, "target": "cold.candles", "layer": "gold"}
    silver = {**TRADES, "target": "cold.silver", "layer": "silver", "enabled": False}
    set_variable(TABLES, [TRADES, silver, candles])
    dag = load_dag()
    assert pairs(dag) == {"bronze.wait_trades", "bronze.offload_trades", "gold.wait_candles", "gold.offload_candles"}
    assert dag.get_task("gold.wait_candles").upstream_task_ids == {"bronze.offload_trades"}


def test_an_empty_list_gives_a_dag_that_only_opens_and_closes(load_dag: LoadDag, set_variable: SetVariable) -> None:
    set_variable(TABLES, [])
    dag = load_dag()
    assert pairs(dag) == set()
    assert dag.get_task("close_cycle").upstream_task_ids == {"open_cycle"}


def test_a_broken_entry_keeps_its_tasks_and_leaves_the_others_alone(
    load_dag: LoadDag, set_variable: SetVariable
) -> None:
    broken = {**TRADES, "target": "cold.broken", "timestamp_column": "at"}
    set_variable(TABLES, [TRADES, broken])
    assert pairs(load_dag()) == {
        "bronze.wait_trades",
        "bronze.offload_trades",
        "bronze.wait_broken",
        "bronze.offload_broken",
    }


def test_settings_reach_the_tasks(load_dag: LoadDag, set_variable: SetVariable) -> None:
    set_variable(SETTINGS, {"schedule": "*/10 * * * *", "pool": "small", "sla_minutes": 7, "task_timeout_minutes": 2})
    dag = load_dag()
    task = dag.get_task("silver.offload_silver_trades")
    assert schedule(dag) == "*/10 * * * *"
    assert (task.pool, task.execution_timeout) == ("small", timedelta(minutes=2))
    assert set(lateness(dag).values()) == {timedelta(minutes=7)}


def test_a_variable_that_is_no_json_is_an_import_error_that_names_it(set_variable: SetVariable) -> None:
    set_variable(TABLES, "[{oops")
    assert "The Airflow Variable `iceberg_offload_tables` is not valid JSON" in import_error()


def test_a_wrong_setting_is_an_import_error_that_names_the_field(set_variable: SetVariable) -> None:
    set_variable(SETTINGS, {"buffer_minutes": -1})
    error = import_error()
    assert "`iceberg_offload_settings` is wrong" in error
    assert "buffer_minutes" in error


def import_error() -> str:
    bag = parsed()
    assert "iceberg_offload" not in bag.dags
    # Every DAG file that reads the Variable says the same, at a line of its own.
    (error,) = {text.strip().splitlines()[-1] for text in bag.import_errors.values()}
    return error


_LOAD = (
    f"from {DAG_BAG} import DagBag"
    + """
bag = DagBag()
print("\\nDAGS", list(bag.dags), *bag.import_errors.values())
"""
)


def test_a_database_that_cannot_be_reached_is_an_error_and_never_the_defaults(tmp_path: Path) -> None:
    # Nobody listens on port 1.
    database = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://airflow:x@127.0.0.1:1/airflow"}
    result = subprocess.run(
        [sys.executable, "-c", _LOAD],
        env=process_environment(tmp_path) | database,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    found, _, errors = result.stdout.partition("\nDAGS ")[2].partition(" ")
    assert found == "[]", result.stdout + result.stderr
    assert "OperationalError" in errors
    assert "Connection refused" in errors


def test_a_variable_that_cannot_be_decrypted_is_an_error_and_never_the_defaults(set_variable: SetVariable) -> None:
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import select

    set_variable(TABLES, [TRADES])
    with create_session() as session:
        stored = session.execute(select(Variable).where(Variable.key == TABLES)).scalar_one()
        assert stored.is_encrypted
        stored._val = "written with another key"
    assert "`iceberg_offload_tables` is set but can't be decrypted" in import_error()
