"""The DAGs as Airflow's DagBag loads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.support.stack import airflow_version
from tests.support.stack.airflow_home import airflow_database, set_variable

if TYPE_CHECKING:
    from offload_airflow.compat.sdk import DAG

__all__ = ["airflow_database", "set_variable"]

DAG_ID = "iceberg_offload"


@pytest.fixture
def load_dag(request: pytest.FixtureRequest) -> Callable[..., DAG]:
    """Parses the DAG files anew and returns one of the DAGs, by default the offload's."""
    request.getfixturevalue("airflow_database")

    def load(dag_id: str = DAG_ID) -> DAG:
        bag = airflow_version.parsed()
        assert not bag.import_errors, bag.import_errors
        dag: DAG | None = bag.get_dag(dag_id)
        assert dag is not None, f"{dag_id} is not among {list(bag.dags)}"
        return dag

    return load
