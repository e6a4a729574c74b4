"""What operators use, against real servers: a pipeline of its own for each test of the ledger."""

from __future__ import annotations

from hypothesis import settings

from tests.support.ledger.fixtures import ledger, open_session, pipeline, session
from tests.support.ledger.offload_command import context, offload
from tests.support.spark.world import world
from tests.support.stack.servers import clickhouse, ledger_database

__all__ = [
    "clickhouse",
    "context",
    "ledger",
    "ledger_database",
    "offload",
    "open_session",
    "pipeline",
    "session",
    "world",
]

# How long an example takes says nothing on a machine that is busy with other things.
settings.register_profile("core", deadline=None)
settings.load_profile("core")
