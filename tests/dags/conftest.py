"""The DAGs as Airflow's DagBag loads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.support.airflow_home import airflow_database, set_variable

if TYPE_CHECKING:
    from airflow.models.dag import DAG

__all__ = ["airflow_database", "set_variable"]

DAG_ID = "iceberg_offload"


@pytest.fixture
def load_dag(request: pytest.FixtureRequest) -> Callable[[], DAG]:
    """Parses the DAG files anew and returns the offload's DAG."""
    request.getfixturevalue("airflow_database")
    from airflow.models.dagbag import DagBag

    def load() -> DAG:
        bag = DagBag(include_examples=False)
        assert not bag.import_errors, bag.import_errors
        dag: DAG | None = bag.get_dag(DAG_ID)
        assert dag is not None, f"{DAG_ID} is not among {list(bag.dags)}"
        return dag

    return load
