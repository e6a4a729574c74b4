"""The Spark side. Tests that use `world` run the real job against real servers."""

from __future__ import annotations

from tests.support.spark.world import world

__all__ = ["world"]
