"""The Spark side. Tests that use `world` run the real job against real servers."""

from __future__ import annotations

from tests.support.spark.s3_world import s3, s3_world
from tests.support.spark.world import world
from tests.support.stack.servers import ledger_database

__all__ = ["ledger_database", "s3", "s3_world", "world"]
