"""Faults against the real job: whatever dies, hangs, comes twice or comes late."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.spark.foreign_writer import foreign, shared  # noqa: F401
from tests.support.spark.world import world  # noqa: F401

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of them as integration tests."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)
