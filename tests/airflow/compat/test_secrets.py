"""Variables and Connections in a task of Airflow 3.

They come from Airflow's API, which answers "not found" when its database is unavailable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest
from airflow.utils.session import create_session
from sqlalchemy import text

from offload_airflow.compat.sdk import DAG, BaseOperator
from offload_airflow.compat.secrets import find_connection, find_variable
from offload_core.errors import FixConfiguration
from tests.support.stack.airflow_version import AIRFLOW_3
from tests.support.stack.runs import scheduled_run, task_context
from tests.support.stack.servers import unique_name

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("airflow_database"),
    pytest.mark.skipif(not AIRFLOW_3, reason="tasks of 2.11 ask Airflow's database"),
]

NOW = datetime.now(timezone.utc)
KEY = "iceberg_offload_settings"


@pytest.fixture
def in_task() -> Iterator[None]:
    """This process is that of a task."""
    with DAG(unique_name("secrets"), schedule=None, start_date=NOW - timedelta(days=1)) as dag:
        task = BaseOperator(task_id="only")
    with task_context(scheduled_run(dag, NOW), task):
        yield


@contextmanager
def unreadable(table: str) -> Iterator[None]:
    """A table of Airflow's database can't be read."""
    with create_session() as session:
        session.execute(text(f"ALTER TABLE {table} RENAME TO {table}_away"))
    try:
        yield
    finally:
        with create_session() as session:
            session.execute(text(f"ALTER TABLE {table}_away RENAME TO {table}"))


def test_a_variable_is_found_and_an_unset_one_is_none(
    set_variable: Callable[[str, object], None], in_task: None
) -> None:
    assert in_task is None
    assert find_variable(KEY) is None
    set_variable(KEY, "some text")
    assert find_variable(KEY) == "some text"


def test_a_variable_that_can_not_be_decrypted_is_an_error_and_not_an_unset_one(
    set_variable: Callable[[str, object], None], in_task: None
) -> None:
    assert in_task is None
    set_variable(KEY, "some text")
    with create_session() as session:
        session.execute(text("UPDATE variable SET val = 'written with another key'"))
    with pytest.raises(FixConfiguration, match="is set but can't be decrypted"):
        find_variable(KEY)


@pytest.mark.usefixtures("in_task")
def test_a_database_that_can_not_be_read_is_an_error_and_not_an_unset_variable() -> None:
    with unreadable("variable"), pytest.raises(Exception, match="Server returned error"):
        find_variable(KEY)
    assert find_variable(KEY) is None


@pytest.mark.usefixtures("in_task")
def test_a_database_that_can_not_be_read_is_an_error_and_not_a_missing_connection() -> None:
    with unreadable("variable"), unreadable("connection"), pytest.raises(Exception, match="Server returned error"):
        find_connection("nowhere")
    assert find_connection("nowhere") is None


@pytest.mark.usefixtures("in_task")
def test_a_connection_of_the_environment_comes_first(set_connection: Callable[..., None]) -> None:
    set_connection("somewhere", conn_type="generic", host="here", password="secret")
    found = find_connection("somewhere")
    assert found is not None
    assert (found.host, found.password) == ("here", "secret")
