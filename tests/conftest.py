"""Keeps the tests away from every Airflow, Spark and stack of the machine but their own."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from importlib.metadata import version

import pytest

from devstack.stack.ports import DEFAULTS
from tests.support.checkout import CHECKOUT

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

# The line of Airflow that these tests run with is also that of the stacks they start.
os.environ["OFFLOAD_AIRFLOW"] = version("apache-airflow").partition(".")[0]

# A run in the background of a shell script inherits that Ctrl-C is ignored; tests that interrupt programs would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A stack that is stopped and started again shall find its ports free: whoever runs beside has ports of their own.
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
for _variable, _port in DEFAULTS.values():
    os.environ.setdefault(_variable, str(_port + 250 * (_worker + 1)))

from tests.support.stack import airflow_home  # noqa: E402, F401
from tests.support.stack.servers import servers  # noqa: E402, F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a real server as an integration test."""
    for item in items:
        if "servers" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.integration)
