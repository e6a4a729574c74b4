"""The operator of the Spark tasks, run by Airflow with a spark-submit that writes down how it was called."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance

from offload_airflow.compat.sdk import (
    DAG,
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
)
from offload_airflow.hooks import offload_submit as hook_module
from offload_airflow.operators.offload_submit import OffloadSubmitOperator
from offload_core.config.connections import PostgresConnection, load_connections
from offload_core.config.tables import DEFAULT_TABLES
from offload_core.errors import FixConfiguration, SparkFailed, SparkOutOfMemory
from offload_core.jobs.arguments import parse
from offload_core.ledger.ledger import Ledger
from tests.support.fakes.spark import FakeSpark, report
from tests.support.stack.airflow_connections import CLICKHOUSE_SECRET, ICEBERG_SECRET, SetConnection
from tests.support.stack.airflow_version import termination
from tests.support.stack.runs import attempt, manual_run, scheduled_run, task_context, task_instance
from tests.support.stack.servers import unique_name

pytestmark = pytest.mark.integration

TABLE = "bronze_trades_binance"
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)

SetVariable = Callable[[str, object], None]


@pytest.fixture
def task() -> OffloadSubmitOperator:
    """The operator in a DAG of its own."""
    with DAG(unique_name("submit"), schedule=None, start_date=NOON - timedelta(days=1)):
        return OffloadSubmitOperator(task_id="offload", table=TABLE, retries=2, retry_delay=timedelta(seconds=60))


def run(task: OffloadSubmitOperator, interval_end: datetime = NOON) -> TaskInstance:
    return attempt(scheduled_run(task.dag, interval_end), task)


def rendered(instance: TaskInstance) -> dict[str, object]:
    fields: dict[str, object] | None = RenderedTaskInstanceFields.get_templated_fields(instance)
    assert fields
    return fields


def job_argv(spark: FakeSpark) -> list[str]:
    (place,) = [number for number, text in enumerate(spark.argv) if text.endswith("offload_generic.py")]
    return spark.argv[place + 1 :]


def test_the_job_is_given_the_table_the_settings_the_interval_the_run_and_the_attempt(
    spark: FakeSpark, task: OffloadSubmitOperator, set_variable: SetVariable
) -> None:
    set_variable("iceberg_offload_settings", {"pipeline_id": "mine", "buffer_minutes": 7})
    instance = run(task)
    arguments = parse(job_argv(spark))
    assert arguments.table == DEFAULT_TABLES[0]
    assert (arguments.settings.pipeline_id, arguments.settings.buffer_minutes) == ("mine", 7)
    assert arguments.interval_end == NOON
    assert arguments.run_id == instance.run_id
    assert arguments.attempt == 1


def test_a_run_by_hand_goes_up_to_now(spark: FakeSpark, task: OffloadSubmitOperator) -> None:
    attempt(manual_run(task.dag, NOON), task)
    assert parse(job_argv(spark)).interval_end is None


def test_a_second_attempt_says_that_it_is_the_second(
    spark: FakeSpark, task: OffloadSubmitOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    dag_run = scheduled_run(task.dag, NOON)
    report(monkeypatch, retryable=True)
    with pytest.raises(AirflowException):
        attempt(dag_run, task)
    with pytest.raises(AirflowException):
        attempt(dag_run, task)
    assert parse(job_argv(spark)).attempt == 2


def test_memory_name_and_spark_settings_come_from_the_variable(
    spark: FakeSpark, task: OffloadSubmitOperator, set_variable: SetVariable
) -> None:
    set_variable(
        "iceberg_offload_settings",
        {"driver_memory": "3g", "executor_memory": "5g", "spark_conf": {"spark.sql.shuffle.partitions": "7"}},
    )
    run(task)
    line = " ".join(spark.argv)
    assert "--master local[*]" in line
    assert "--driver-memory 3g" in line
    assert "--executor-memory 5g" in line
    assert "--name iceberg_offload " in line
    assert "--conf spark.sql.shuffle.partitions=7" in line
    assert "--conf spark.driver.extraClassPath=/opt/jars/iceberg.jar" in line


@pytest.mark.parametrize(
    ("settings", "host", "is_shared"),
    [
        ({}, "local[*]", True),
        ({}, "local", True),
        ({"keep_spark_seconds": 0}, "local[*]", False),
        ({}, "spark://spark.example.com", False),
        ({}, "yarn", False),
    ],
)
def test_tables_share_an_application_on_this_machine_unless_it_is_switched_off(
    spark: FakeSpark,
    task: OffloadSubmitOperator,
    set_variable: SetVariable,
    set_connection: SetConnection,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, object],
    host: str,
    is_shared: bool,
) -> None:
    set_variable("iceberg_offload_settings", settings)
    set_connection("spark_default", conn_type="spark", host=host, extra={"deploy-mode": "client"})
    with caplog.at_level(logging.INFO):
        run(task)
    # The fake can't be shared, and the job says so where one was looked for.
    assert ("This job gets a Spark application of its own" in caplog.text) is is_shared
    name = "iceberg_offload" if is_shared else f"iceberg_offload.{TABLE}"
    assert spark.argv[spark.argv.index("--name") + 1] == name


def test_spark_submit_finds_spark_java_python_and_the_packages_of_the_job(
    spark: FakeSpark, task: OffloadSubmitOperator
) -> None:
    run(task)
    environ = spark.environ
    assert environ["SPARK_HOME"] == str(spark.home)
    assert environ["JAVA_HOME"] == "/opt/java"
    assert environ["PYSPARK_PYTHON"] == environ["PYSPARK_DRIVER_PYTHON"] == "/opt/spark-env/bin/python"
    folders = [Path(folder) for folder in environ["PYTHONPATH"].split(os.pathsep)]
    assert any((folder / "offload_core" / "__init__.py").exists() for folder in folders)
    assert any((folder / "offload_spark" / "__init__.py").exists() for folder in folders)


def test_passwords_reach_the_job_by_its_environment(spark: FakeSpark, task: OffloadSubmitOperator) -> None:
    run(task)
    connections = load_connections(spark.environ)
    assert connections.clickhouse.password.get_secret_value() == CLICKHOUSE_SECRET
    assert connections.iceberg.password.get_secret_value() == ICEBERG_SECRET


@pytest.mark.parametrize("master", ["local[*]", "yarn", "spark://spark:7077"])
def test_no_password_is_on_the_command_line_in_the_log_or_in_the_rendered_template(
    spark: FakeSpark,
    task: OffloadSubmitOperator,
    set_connection: SetConnection,
    connect_postgres: PostgresConnection,
    caplog: pytest.LogCaptureFixture,
    master: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    set_connection("spark_default", conn_type="spark", host=master, extra={"deploy-mode": "client"})
    instance = run(task)
    secrets = [CLICKHOUSE_SECRET, ICEBERG_SECRET, connect_postgres.password.get_secret_value()]
    assert all(json.dumps(secret)[1:-1] in spark.environ["OFFLOAD_CONNECTIONS"] for secret in secrets)
    for place in (json.dumps(spark.argv), caplog.text, json.dumps(rendered(instance))):
        assert place
        for secret in secrets:
            assert secret not in place
            assert json.dumps(secret)[1:-1] not in place


def test_the_client_of_s3_is_put_on_the_class_path_where_the_warehouse_is_there_and_its_key_shows_nowhere(
    spark: FakeSpark,
    task: OffloadSubmitOperator,
    set_connection: SetConnection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OFFLOAD_SPARK_S3_JARS", "/opt/jars/aws.jar")
    key, secret = "the access key", "the secret key"
    extra = {
        "warehouse": "s3://cold/warehouse",
        "properties": {"s3.access-key-id": key, "s3.secret-access-key": secret},
    }
    uri = "jdbc:postgresql://pg.example.com/offload"
    set_connection("iceberg_default", conn_type="generic", host=uri, login="offload", extra=extra)

    instance = run(task)

    assert f"spark.driver.extraClassPath=/opt/jars/iceberg.jar{os.pathsep}/opt/jars/aws.jar" in spark.argv
    assert load_connections(spark.environ).iceberg.properties["s3.secret-access-key"] == secret
    for place in (json.dumps(spark.argv), caplog.text, json.dumps(rendered(instance))):
        assert key not in place
        assert secret not in place


def test_the_rendered_template_shows_the_jobs_arguments(spark: FakeSpark, task: OffloadSubmitOperator) -> None:
    fields = rendered(run(task))
    assert fields["application_args"] == job_argv(spark)
    assert fields["table"] == TABLE


def test_an_edit_of_the_variable_counts_for_a_dag_that_was_parsed_before(
    spark: FakeSpark, task: OffloadSubmitOperator, set_variable: SetVariable
) -> None:
    run(task)
    edited = {**DEFAULT_TABLES[0].model_dump(mode="json"), "source": "other.trades"}
    set_variable("iceberg_offload_tables", [edited])
    run(task, NOON + timedelta(minutes=15))
    assert parse(job_argv(spark)).table.source == "other.trades"


def test_a_table_that_was_disabled_since_the_dag_was_parsed_is_skipped(
    spark: FakeSpark, task: OffloadSubmitOperator, set_variable: SetVariable
) -> None:
    set_variable("iceberg_offload_tables", [{**DEFAULT_TABLES[0].model_dump(mode="json"), "enabled": False}])
    assert run(task).state == "skipped"
    assert not spark.record.exists()


def test_an_entry_that_was_broken_since_fails_with_the_field_and_without_retries(
    spark: FakeSpark, task: OffloadSubmitOperator, set_variable: SetVariable
) -> None:
    set_variable("iceberg_offload_tables", [{**DEFAULT_TABLES[0].model_dump(mode="json"), "partition": "week"}])
    with pytest.raises(AirflowFailException, match=r"partition: .*Correct the entry in the Airflow Variable"):
        run(task)
    assert not spark.record.exists()


def test_the_jobs_own_lines_are_in_the_task_log(
    spark: FakeSpark,
    task: OffloadSubmitOperator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert spark
    monkeypatch.setenv("FAKE_SPARK_OUTPUT", "Rows offloaded: 12\nNo new data to offload")
    caplog.set_level(logging.INFO)
    run(task)
    assert {"Rows offloaded: 12", "No new data to offload"} <= set(caplog.messages)


@pytest.mark.usefixtures("spark")
def test_an_error_that_a_retry_can_mend_is_tried_again_and_shows_the_jobs_message(
    task: OffloadSubmitOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    report(monkeypatch, retryable=True)
    dag_run = scheduled_run(task.dag, NOON)
    with pytest.raises(AirflowException, match=r"^ClickHouse can't be reached. Start it.$"):
        attempt(dag_run, task)
    assert task_instance(dag_run, task).state == "up_for_retry"


@pytest.mark.usefixtures("spark")
def test_an_error_that_no_retry_can_mend_fails_at_once_and_shows_the_jobs_message(
    task: OffloadSubmitOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    report(monkeypatch, retryable=False)
    dag_run = scheduled_run(task.dag, NOON)
    with pytest.raises(AirflowFailException, match=r"^ClickHouse can't be reached. Start it.$"):
        attempt(dag_run, task)
    assert task_instance(dag_run, task).state == "failed"


@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize(
    ("code", "output", "expected", "kind"),
    [
        (1, "Exception in thread main", SparkFailed, "spark"),
        (137, "", SparkOutOfMemory, "spark_out_of_memory"),
        (1, "java.lang.OutOfMemoryError: Java heap space", SparkOutOfMemory, "spark_out_of_memory"),
    ],
)
def test_a_job_that_dies_without_a_word_is_written_into_the_ledger_and_tried_again(
    task: OffloadSubmitOperator,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    output: str,
    expected: type[Exception],
    kind: str,
) -> None:
    ledger.initialize(TABLE)
    monkeypatch.setenv("FAKE_SPARK_OUTPUT", output)
    monkeypatch.setenv("FAKE_SPARK_EXIT", str(code))
    dag_run = scheduled_run(task.dag, NOON)
    with pytest.raises(expected):
        attempt(dag_run, task)
    assert task_instance(dag_run, task).state == "up_for_retry"
    newest = ledger.newest(TABLE)
    assert newest is not None
    assert (newest.status, newest.error_kind, newest.failure_count, newest.run_id) == (
        "failed",
        kind,
        1,
        dag_run.run_id,
    )


def test_a_job_that_takes_too_long_is_ended_with_everything_it_started(
    spark: FakeSpark,
    task: OffloadSubmitOperator,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger.initialize(TABLE)
    monkeypatch.setattr(hook_module, "_KILL_AFTER_SECONDS", 0.3)
    monkeypatch.setenv("FAKE_SPARK_HANG", "1")
    task.execution_timeout = timedelta(seconds=2)
    with pytest.raises(AirflowTaskTimeout):
        run(task)
    assert spark.alive() == []
    newest = ledger.newest(TABLE)
    assert newest is not None
    assert (newest.status, newest.error_kind) == ("failed", "timeout")


def test_a_task_that_is_killed_takes_the_job_and_everything_it_started_with_it(
    spark: FakeSpark, task: OffloadSubmitOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook_module, "_KILL_AFTER_SECONDS", 0.3)
    monkeypatch.setenv("FAKE_SPARK_HANG", "1")
    found: list[int] = []

    def kill_once_started() -> None:
        deadline = time.monotonic() + 20
        while not spark.record.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        found.extend(spark.alive())
        os.kill(os.getpid(), signal.SIGTERM)  # what Airflow does to the task's process

    handler = signal.getsignal(signal.SIGTERM)
    killer = threading.Thread(target=kill_once_started)
    killer.start()
    try:
        with pytest.raises(termination()):
            run(task)
    finally:
        signal.signal(signal.SIGTERM, handler)
        killer.join()
    assert len(found) == 2
    assert spark.alive() == []


def test_cluster_mode_is_refused_because_passwords_would_be_on_the_command_line(
    spark: FakeSpark, task: OffloadSubmitOperator, set_connection: SetConnection
) -> None:
    set_connection("spark_default", conn_type="spark", host="yarn", extra={"deploy-mode": "cluster"})
    with pytest.raises(AirflowFailException, match="Set deploy-mode to client"):
        run(task)
    assert not spark.record.exists()


def test_a_missing_spark_connection_is_an_error_and_not_yarn(
    spark: FakeSpark, task: OffloadSubmitOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SPARK_DEFAULT")
    with pytest.raises(AirflowFailException, match="The Airflow Connection `spark_default` does not exist"):
        run(task)
    assert not spark.record.exists()


@pytest.mark.usefixtures("spark")
def test_without_spark_submit_the_error_says_what_to_install(
    task: OffloadSubmitOperator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("OFFLOAD_SPARK_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AirflowFailException, match="spark-submit is not on this worker's PATH"):
        run(task)


def test_on_kill_before_anything_was_started_does_nothing(task: OffloadSubmitOperator) -> None:
    task.on_kill()


def test_the_skip_says_why(spark: FakeSpark, task: OffloadSubmitOperator, set_variable: SetVariable) -> None:
    assert spark
    set_variable("iceberg_offload_tables", [])
    dag_run = scheduled_run(task.dag, NOON)
    with (
        task_context(dag_run, task) as context,
        pytest.raises(AirflowSkipException, match="has been disabled or removed"),
    ):
        task.render_template_fields(context)


def test_the_error_of_a_missing_application_names_the_file(
    spark: FakeSpark, task: OffloadSubmitOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert spark
    monkeypatch.setenv("OFFLOAD_SPARK_APPLICATION", "/nowhere/offload_generic.py")
    with pytest.raises(AirflowFailException, match=r"/nowhere/offload_generic\.py") as caught:
        run(task)
    assert isinstance(caught.value.__cause__, FixConfiguration)
