"""What the scheduler of Airflow 3 does for tasks, which have no way to Airflow's database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
from airflow.models.pool import Pool

from tests.support.airflow_line import AIRFLOW_3, forget, parsed
from tests.support.runs import scheduled_run
from tests.support.servers import unique_name

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("airflow_database"),
    pytest.mark.skipif(not AIRFLOW_3, reason="tasks of 2.11 do it themselves"),
]

NOW = datetime.now(timezone.utc)


def begin(dag_id: str, now: datetime = NOW) -> None:
    """A run begins, as Airflow tells its listeners."""
    from offload_airflow.airflow3.scheduler_duties import SchedulerDuties

    SchedulerDuties().on_dag_run_running(scheduled_run(parsed().get_dag(dag_id), now), "started")


@pytest.fixture(autouse=True)
def no_runs():
    """No runs that were there before."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

    yield
    forget(TaskInstance, DagRun)


def test_a_run_of_the_offload_finds_its_pool_and_an_existing_one_is_left_as_it_is(
    set_variable: Callable[[str, object], None],
) -> None:
    pool = unique_name("pool")
    set_variable("iceberg_offload_settings", {"pool": pool})
    begin("iceberg_offload")
    made = Pool.get_pool(pool)
    assert made is not None
    assert made.slots == 2
    Pool.create_or_update_pool(pool, slots=5, description="mine", include_deferred=False)
    begin("iceberg_offload", NOW + timedelta(minutes=15))
    kept = Pool.get_pool(pool)
    assert kept is not None
    assert kept.slots == 5


def test_a_run_of_another_dag_changes_nothing(set_variable: Callable[[str, object], None]) -> None:
    pool = unique_name("pool")
    set_variable("iceberg_offload_settings", {"pool": pool})
    begin("iceberg_offload_freshness")
    assert Pool.get_pool(pool) is None


def test_what_can_not_be_done_is_logged_and_holds_nothing_up(
    set_variable: Callable[[str, object], None], caplog: pytest.LogCaptureFixture
) -> None:
    run = scheduled_run(parsed().get_dag("iceberg_offload"), NOW)
    set_variable("iceberg_offload_settings", {"no_such_setting": 1})
    from offload_airflow.airflow3.scheduler_duties import SchedulerDuties

    SchedulerDuties().on_dag_run_running(run, "started")
    assert "What a run of iceberg_offload needs of Airflow's database could not be done." in caplog.text
