"""The unmodified airflow-clickhouse-plugin: its hook, operator and sensor."""

import json
import warnings

import pytest
from airflow.exceptions import AirflowException
from clickhouse_driver.errors import ServerException

from tests.support.stack.gateway import DATABASE, PASSWORD, USER

with warnings.catch_warnings():
    # It takes Airflow's base classes from where Airflow 3 warns of them.
    warnings.filterwarnings("ignore", message=r"The `airflow\.\w+\.base\.")
    from airflow_clickhouse_plugin.hooks.clickhouse import ClickHouseHook
    from airflow_clickhouse_plugin.operators.clickhouse import ClickHouseOperator
    from airflow_clickhouse_plugin.sensors.clickhouse import ClickHouseSensor


@pytest.fixture(autouse=True)
def connection(gateway, monkeypatch):
    given = {"conn_type": "clickhouse", "host": "127.0.0.1", "port": gateway.native_port}
    given |= {"login": USER, "password": PASSWORD, "schema": DATABASE}
    monkeypatch.setenv("AIRFLOW_CONN_CLICKHOUSE_DEFAULT", json.dumps(given))


def test_the_hook_writes_and_reads(table):
    hook = ClickHouseHook()

    assert hook.execute(f"INSERT INTO {table} VALUES", [(1, "a"), (2, "b")]) == 2
    assert hook.execute((f"SELECT sum(a) FROM {table}", "SELECT currentDatabase()")) == [(DATABASE,)]
    found = hook.execute(f"SELECT * FROM {table} WHERE b = %(b)s", {"b": "b"}, with_column_types=True)
    assert found == ([(2, "b")], [("a", "UInt64"), ("b", "String")])


def test_the_hook_passes_settings_and_external_tables():
    tables = [
        {"name": "ext", "structure": [("x", "UInt64"), ("y", "LowCardinality(String)")], "data": [{"x": 5, "y": "q"}]}
    ]
    sql = "SELECT x, y, getSetting('max_block_size') FROM ext"

    assert ClickHouseHook().execute(sql, external_tables=tables, settings={"max_block_size": 9}) == [(5, "q", 9)]
    with pytest.raises(ServerException, match="ext"):
        ClickHouseHook().execute(sql)


def test_the_operator_returns_the_last_result(table):
    operator = ClickHouseOperator(
        task_id="insert", sql=(f"INSERT INTO {table} SELECT 7, 'seven'", f"SELECT * FROM {table}"), query_id=None
    )

    assert operator.execute({}) == [(7, "seven")]


def test_the_sensor_waits_for_rows_and_fails_on_a_failure_value(table, gateway):
    sql = f"SELECT count() FROM {table}"
    sensor = ClickHouseSensor(task_id="wait", sql=sql, is_success=lambda rows: rows[0][0] > 0)
    failing = ClickHouseSensor(task_id="fail", sql=sql, is_failure=lambda rows: rows[0][0] > 0)

    assert not sensor.poke({})
    gateway.ask(f"INSERT INTO {table} VALUES (1, 'a')")
    assert sensor.poke({})
    with pytest.raises(AirflowException):
        failing.poke({})
