"""What the weekly report's DAG promises, read from the DAG that Airflow loads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from offload_airflow.compat.sdk import DAG
from offload_airflow.operators.report import ReportOperator
from tests.support.stack.airflow_version import due_runs, lateness, schedule

DAG_ID = "iceberg_offload_report"

LoadDag = Callable[..., DAG]
SetVariable = Callable[[str, object], None]


@pytest.fixture
def dag(load_dag: LoadDag) -> DAG:
    return load_dag(DAG_ID)


def test_it_has_one_task(dag: DAG) -> None:
    (task,) = dag.tasks
    assert isinstance(task, ReportOperator)
    assert task.task_id == "report"


def test_it_runs_on_mondays_at_nine_utc_without_catching_up_and_never_twice_at_once(dag: DAG) -> None:
    assert type(dag.timetable).__name__ == "CronDataIntervalTimetable"
    first, second = due_runs(
        dag, datetime(2026, 11, 9, 9, tzinfo=timezone.utc), datetime(2026, 11, 20, tzinfo=timezone.utc)
    )
    assert first.run_after == datetime(2026, 11, 16, 9, tzinfo=timezone.utc)
    assert second.run_after == datetime(2026, 11, 23, 9, tzinfo=timezone.utc)
    assert dag.timezone.name == "UTC"
    assert dag.start_date == datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert dag.catchup is False
    assert dag.max_active_runs == 1


def test_the_time_is_a_setting(load_dag: LoadDag, set_variable: SetVariable) -> None:
    set_variable("iceberg_offload_settings", {"report_schedule": "30 7 * * 5"})
    assert schedule(load_dag(DAG_ID)) == "30 7 * * 5"


def test_a_mail_server_gets_three_attempts_and_the_run_ends_after_them_at_last(dag: DAG) -> None:
    (task,) = dag.tasks
    assert task.retries == 2
    assert task.retry_delay == timedelta(minutes=5)
    assert task.execution_timeout == timedelta(minutes=10)
    assert not task.depends_on_past
    assert dag.dagrun_timeout is not None
    assert dag.dagrun_timeout >= 3 * task.execution_timeout + 2 * task.retry_delay


def test_it_takes_no_slot_of_the_offloads_pool_and_has_no_sla(dag: DAG) -> None:
    (task,) = dag.tasks
    assert task.pool == "default_pool"
    assert lateness(dag) == {}


def test_it_says_what_it_is_and_whose(dag: DAG) -> None:
    assert {task.owner for task in dag.tasks} == {"data-platform"}
    assert str(dag.doc_md).startswith("### Weekly report of the Iceberg offload")
    assert "report_recipients" in str(dag.doc_md)
    assert set(dag.tags) >= {"iceberg", "clickhouse", "offload"}
