"""Every test here runs the real Spark job against real servers."""

from __future__ import annotations

import pytest

from tests.support.world import world  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of them as integration tests."""
    for item in items:
        if "/tests/spark/" in str(item.path):
            item.add_marker(pytest.mark.integration)
