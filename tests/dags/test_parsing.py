"""Airflow parses DAG files again and again: that has to be cheap and needs nobody else."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.checkout import CHECKOUT
from tests.support.stack.airflow_home import HOME, process_environment
from tests.support.stack.airflow_version import DAG_BAG

_PARSE = (
    f"import {DAG_BAG} as dagbag"
    + """
import json, socket, sys
import airflow, airflow.models.dag

def refuse(*arguments, **more):
    raise RuntimeError(f"the network was asked for: {arguments}")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
bag = dagbag.DagBag()
print(json.dumps({"dags": sorted(bag.dags), "errors": bag.import_errors, "all": sorted(sys.modules)}))
"""
)


@pytest.fixture(scope="module")
def parsed(request: pytest.FixtureRequest) -> dict[str, object]:
    request.getfixturevalue("airflow_database")
    result = subprocess.run(
        [sys.executable, "-c", _PARSE],
        env=process_environment(HOME),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
    return answer


def test_the_dags_parse_without_the_network(parsed: dict[str, object]) -> None:
    assert parsed["errors"] == {}
    assert parsed["dags"] == sorted(file.stem for file in (CHECKOUT / "dags").glob("*.py"))


def test_parsing_imports_neither_spark_nor_data_frames(parsed: dict[str, object]) -> None:
    assert isinstance(parsed["all"], list)
    packages = {name.partition(".")[0] for name in parsed["all"]}
    heavy = {"pyspark", "pandas", "pyarrow", "numpy", "pyiceberg", "offload_spark", "devstack", "install"}
    assert packages & heavy == set()
