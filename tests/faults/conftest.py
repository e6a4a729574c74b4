"""Faults against the real job: processes that die or hang, rows and runs that arrive twice or late."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.spark.fault_tables import candles, trades
from tests.support.spark.foreign_writer import foreign, shared
from tests.support.spark.world import world

__all__ = ["candles", "foreign", "shared", "trades", "world"]

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of them as integration tests."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)
