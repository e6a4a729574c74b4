"""The tests' own Airflow. Each conftest.py imports this before Airflow, which reads its environment only once.

Its home is the folder that tests/conftest.py has created, and its database is an SQLite file there. Tests that store
Variables, Connections, pools or runs use the fixture `airflow_database`.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.checkout import CHECKOUT
from tests.support.stack import airflow_version

_FERNET_KEY = base64.urlsafe_b64encode(os.urandom(32)).decode()


def environment(home: Path) -> dict[str, str]:
    """The environment variables that give a process this Airflow, independent of the rest of the machine."""
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(home / "airflow.cfg"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(CHECKOUT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__FERNET_KEY": _FERNET_KEY,
        "AIRFLOW__CORE__DEFAULT_TIMEZONE": "utc",
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        **airflow_version.environment(),
    }


def process_environment(home: Path) -> dict[str, str]:
    """The complete environment of a process with an Airflow in `home`."""
    foreign = ("AIRFLOW", "PYTHON", "OFFLOAD_CONNECTIONS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, **environment(home)}


if "airflow" in sys.modules:
    raise RuntimeError("Airflow was imported before tests.support.stack.airflow_home, so it would use a real database.")

HOME = Path(os.environ["AIRFLOW_HOME"])
"""A folder for this test run, created by tests/conftest.py."""
os.environ.update(environment(HOME))


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """Airflow's own database, migrated."""
    airflow_version.migrate()


@pytest.fixture
def set_variable(request: pytest.FixtureRequest) -> Iterator[Callable[[str, object], None]]:
    """Sets Airflow Variables for one test: strings unchanged, anything else as JSON."""
    request.getfixturevalue("airflow_database")
    from airflow.models.variable import Variable

    names: set[str] = set()

    def set_variable(name: str, value: object) -> None:
        names.add(name)
        Variable.set(name, value if isinstance(value, str) else json.dumps(value))

    yield set_variable
    for name in names:
        Variable.delete(name)
