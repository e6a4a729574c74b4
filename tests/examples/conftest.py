"""The programs in `examples/` on tables that the real job has offloaded."""

from __future__ import annotations

from tests.support.spark.world import world

__all__ = ["world"]
