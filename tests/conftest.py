"""Keeps the tests away from any other Airflow, Spark and stack of the machine, and cleans up after them."""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import version
from types import FrameType

import pytest

from devstack.stack.ports import DEFAULTS
from tests.support import reaper
from tests.support.checkout import CHECKOUT

# Before anything imports Airflow: it reads its configuration once, and its default database is the user's own.
for name in [name for name in os.environ if name.startswith(("AIRFLOW", "OFFLOAD_CONNECTIONS", "PYSPARK_", "SPARK_"))]:
    del os.environ[name]

# The tests start hundreds of Python programs. Without bytecode files, each one compiles every module that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

reaper.start()
os.environ |= {
    "AIRFLOW_HOME": str(reaper.run_folder() / "airflow"),
    "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(CHECKOUT / "plugins"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}

# The stacks that the tests start have the Airflow version that the tests run with.
os.environ["OFFLOAD_AIRFLOW"] = version("apache-airflow").partition(".")[0]

# A background job of a shell script inherits that Ctrl-C is ignored. Tests that interrupt programs would wait forever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from tests.support.stack import airflow_home  # noqa: E402, F401
from tests.support.stack.servers import servers  # noqa: E402, F401

_SLOW = ("tests/integration/", "tests/spark/", "tests/faults/", "tests/test_interruption.py")
_PID = os.getpid()
# `nohup` ignores SIGHUP, which then stays ignored.
_ENDING_SIGNALS = [
    number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN
]


def _interrupt(number: int, _: FrameType | None) -> None:
    """End pytest as Ctrl-C does, so that fixtures stop what they started."""
    for ending in _ENDING_SIGNALS:
        # A closing terminal and its shell both send SIGHUP. The second one must not interrupt the fixtures.
        signal.signal(ending, signal.SIG_IGN if os.getpid() == _PID else signal.SIG_DFL)
    if os.getpid() == _PID:
        raise KeyboardInterrupt
    # A process that a test forked ends as if this handler did not exist.
    os.kill(os.getpid(), number)


def _handle_ending_signals() -> None:
    for number in _ENDING_SIGNALS:
        signal.signal(number, _interrupt)


def pytest_configure(config: pytest.Config) -> None:
    """Handle the signals that end a run, and choose the ports of its stacks."""
    _handle_ending_signals()
    if config.getoption("numprocesses", None):
        return  # it runs no tests itself, and its workers would inherit its ports
    # A stack that is stopped and started again must find its ports free, so each process has ports of its own. The
    # pids of processes that run at the same time usually differ by less than 38.
    place = 1 + os.getpid() % 38
    for variable, port in DEFAULTS.values():
        os.environ.setdefault(variable, str(port + 250 * place))


def pytest_runtest_setup() -> None:
    """Handle the signals again: Airflow's own code, called by a test, replaces the handlers."""
    _handle_ending_signals()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a real server as an integration test, and begin with the folders that take the longest."""
    for item in items:
        if {"servers", "gateway"}.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.integration)
    # With short files at the end, all workers finish at the same time. The sort keeps the order within a folder.
    items.sort(key=lambda item: next((place for place, name in enumerate(_SLOW) if name in item.nodeid), len(_SLOW)))
