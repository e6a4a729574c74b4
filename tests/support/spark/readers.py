"""The environment of other readers of the cold tables (`make readers`): Polars, and pyiceberg with its SQL catalog."""

from __future__ import annotations

from pathlib import Path

import pytest

from install.layout import Layout
from tests.support.spark.world import World


def readers_python() -> Path:
    """The Python of the readers' environment; without one, the test is skipped."""
    python = Layout.of_checkout().envs / "readers" / "bin" / "python"
    if not python.exists():
        pytest.skip("pyiceberg's SQL catalog and Polars need an environment of their own: run `make readers`")
    return python


def sql_catalog(world: World) -> dict[str, str]:
    """pyiceberg's settings for the catalog."""
    ledger = world.connections.postgres
    login = f"{ledger.user}:{ledger.password.get_secret_value()}"
    return {
        "PYICEBERG_CATALOG__DEMO__TYPE": "sql",
        "PYICEBERG_CATALOG__DEMO__URI": f"postgresql+psycopg://{login}@{ledger.host}:{ledger.port}/{ledger.database}",
        # A reader of the documentation would see the warnings of its examples, so there must not be any.
        "PYTHONWARNINGS": "error",
    }
