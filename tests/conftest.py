"""Keeps the tests away from every Airflow, Spark and stack of the machine but their own."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent

# Before anything imports Airflow: it reads its configuration once, and its default database is the user's own.
for name in [name for name in os.environ if name.startswith(("AIRFLOW", "OFFLOAD_CONNECTIONS", "PYSPARK_", "SPARK_"))]:
    del os.environ[name]

_home = tempfile.mkdtemp(prefix="offload-airflow-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ |= {
    "AIRFLOW_HOME": _home,
    "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(CHECKOUT / "plugins"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one file run one after another where several run side by side; so do files that share a stack of Airflow's."""
    for item in items:
        shared = "past" if "past" in getattr(item, "fixturenames", ()) else None
        item.add_marker(pytest.mark.xdist_group(shared or item.path.relative_to(CHECKOUT).as_posix()))
