"""The maintenance's tasks, run by Airflow with a spark-submit that writes down how it was called."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session

from offload_airflow.compat.sdk import DAG, AirflowException, AirflowFailException
from offload_airflow.operators.maintenance import (
    CleanLedgerOperator,
    CleanLogsOperator,
    CloseMaintenanceOperator,
    MaintainTableOperator,
)
from offload_core.config.connections import PostgresConnection
from offload_core.config.tables import DEFAULT_TABLES
from offload_core.errors import SparkFailed
from offload_core.jobs.arguments import parse
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.maintenance_log import MaintenanceLog
from offload_core.ledger.rows import Step, StepKind
from offload_core.ledger.session import connect
from offload_core.maintenance import TableStats
from offload_core.protocol.window import ORIGIN
from tests.support.fakes.spark import FakeSpark, report
from tests.support.stack.runs import attempt, manual_run, scheduled_run
from tests.support.stack.servers import unique_name

pytestmark = pytest.mark.integration

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
ONE, TWO = DEFAULT_TABLES[0].name, DEFAULT_TABLES[1].name

SetVariable = Callable[[str, object], None]


@pytest.fixture
def dag() -> DAG:
    """Two tables, the clean-up and the closing task."""
    with DAG(unique_name("maintenance"), schedule=None, start_date=NOON - timedelta(days=1)) as dag:
        for table in (ONE, TWO):
            MaintainTableOperator(task_id=f"maintain_{table}", table=table)
        CleanLedgerOperator(task_id="clean_ledger")
        tables = {f"maintain_{table}": table for table in (ONE, TWO)}
        CloseMaintenanceOperator(task_id="close_maintenance", tables=tables, others=["clean_ledger"])
    return dag


def end(run: DagRun, **states: str) -> None:
    """Say how the tasks of a run ended."""
    with create_session() as session:
        for instance in run.get_task_instances(session=session):
            if instance.task_id in states:
                instance.state = states[instance.task_id]


def test_the_job_is_given_its_table_and_a_jvm_that_compiles_well(spark: FakeSpark, dag: DAG) -> None:
    instance = attempt(scheduled_run(dag, NOON), dag.get_task(f"maintain_{ONE}"))
    (place,) = [number for number, text in enumerate(spark.argv) if text.endswith("offload_maintain.py")]
    arguments = parse(spark.argv[place + 1 :])
    assert (arguments.table, arguments.run_id, arguments.attempt) == (DEFAULT_TABLES[0], instance.run_id, 1)
    assert "TieredStopAtLevel" not in " ".join(spark.argv)


def test_only_the_tables_that_a_run_asks_for_are_maintained(spark: FakeSpark, dag: DAG) -> None:
    run = manual_run(dag, NOON, {"tables": [TWO]})
    assert attempt(run, dag.get_task(f"maintain_{ONE}")).state == "skipped"
    assert not spark.record.exists()
    assert attempt(run, dag.get_task(f"maintain_{TWO}")).state == "success"
    assert spark.record.exists()


@pytest.mark.parametrize(
    ("conf", "reason"),
    [({"tables": ["nowhere"]}, "unknown or disabled: nowhere"), ({"mode": "restate"}, "mode: Extra inputs")],
)
def test_a_conf_that_makes_no_sense_fails_with_what_is_wrong(
    spark: FakeSpark, dag: DAG, conf: dict[str, object], reason: str
) -> None:
    run = manual_run(dag, NOON, conf)
    for task in (f"maintain_{ONE}", "clean_ledger"):
        with pytest.raises(AirflowFailException, match=reason):
            attempt(run, dag.get_task(task))
    assert not spark.record.exists()


def test_a_failed_maintenance_is_no_failure_of_the_offload(
    spark: FakeSpark, dag: DAG, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert spark
    ledger.initialize(ONE)
    report(monkeypatch, retryable=True)
    with pytest.raises(AirflowException):
        attempt(scheduled_run(dag, NOON), dag.get_task(f"maintain_{ONE}"))
    monkeypatch.setenv("FAKE_SPARK_OUTPUT", "no word of its own")
    with pytest.raises(SparkFailed):
        attempt(scheduled_run(dag, NOON + timedelta(days=1)), dag.get_task(f"maintain_{ONE}"))
    assert [row.kind for row in ledger.history(ONE)] == ["init"]


def test_the_clean_up_deletes_what_is_older_than_the_retention(
    dag: DAG,
    ledger: Ledger,
    connect_postgres: PostgresConnection,
    pipeline: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    ledger.initialize(ONE)
    for number in range(4):
        last = ledger.watermark(ONE)
        ledger.append(last, Step(StepKind.INCREMENT, ORIGIN, 0, None, f"run_{number}", 1, None, 1, number, number))
    with connect(connect_postgres) as session:
        session.execute(
            "UPDATE offload_watermarks SET created_at = created_at - interval '16 days' "
            "WHERE pipeline_id = %s AND run_id < 'run_3'",
            (pipeline,),
        )
    attempt(scheduled_run(dag, NOON), dag.get_task("clean_ledger"))
    assert [row.run_id for row in ledger.history(ONE)] == ["run_3", None]
    assert "Ledger rows older than 15 days deleted: 3" in caplog.messages


def test_the_closing_task_tells_every_tables_figures_and_fails_if_a_task_failed(
    dag: DAG, connect_postgres: PostgresConnection, pipeline: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = scheduled_run(dag, NOON)
    before, after = TableStats(96, 1, 96, 0, 300, 9, 9, 1.0, 4), TableStats(1, 1, 1, 0, 20, 1, 9, 1.0, 1)
    with connect(connect_postgres) as session:
        log = MaintenanceLog(session, pipeline)
        log.append(ONE, run_id=run.run_id, attempt=1, seconds=3.0, before=before, after=after, steps=[])
    end(run, **{f"maintain_{ONE}": "success", f"maintain_{TWO}": "skipped", "clean_ledger": "success"})
    assert attempt(run, dag.get_task("close_maintenance")).state == "success"
    assert f"✓ {ONE}: data files 96 → 1, snapshots 300 → 20, 3.0 s" in caplog.messages
    assert f"- {TWO}: not selected, or switched off" in caplog.messages

    end(run, **{f"maintain_{TWO}": "failed", "clean_ledger": "failed"})
    with pytest.raises(AirflowFailException, match=f"2 tasks failed: maintain_{TWO}, clean_ledger"):
        attempt(run, dag.get_task("close_maintenance"))


@pytest.mark.usefixtures("pipeline")
def test_old_logs_of_the_packages_dags_go_and_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path))
    ages = {"iceberg_offload": 8, "iceberg_offload_freshness": 8, "iceberg_offload_audit": 6, "somebody_elses": 800}
    files = {dag_id: tmp_path / f"dag_id={dag_id}" / "run_id=r" / "task_id=t" / "attempt=1.log" for dag_id in ages}
    for dag_id, file in files.items():
        file.parent.mkdir(parents=True)
        file.write_text("a line")
        moment = datetime.now(timezone.utc).timestamp() - ages[dag_id] * 86_400
        for path in (file, file.parent, file.parent.parent):
            os.utime(path, (moment, moment))
    with DAG(unique_name("maintenance"), schedule=None, start_date=NOON - timedelta(days=1)) as dag:
        task = CleanLogsOperator(task_id="clean_logs")
    with caplog.at_level(logging.INFO):
        attempt(manual_run(dag, NOON), task)

    assert {dag_id for dag_id, file in files.items() if file.exists()} == {"iceberg_offload_audit", "somebody_elses"}
    assert not files["iceberg_offload"].parent.parent.exists()
    assert "Log files older than 7 days deleted: 2" in caplog.text
