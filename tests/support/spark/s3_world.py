"""A world whose warehouse is in S3. Its fixtures are available to all tests in tests/spark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.spark.world import World
from tests.support.stack.s3_server import BUCKET, S3Server, s3_server

KEY, SECRET = "THE-ACCESS-KEY-OF-THE-TEST", "the-secret-key-of-the-test"


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    """An S3 server."""
    with s3_server() as server:
        yield server


@pytest.fixture
def s3_world(world: World, s3: S3Server) -> World:
    """A world with its warehouse in S3. Only the Iceberg connection has the settings of S3."""
    iceberg = world.connections.iceberg.model_copy(
        update={
            "warehouse": f"s3://{BUCKET}/{world.connections.postgres.database}",
            "properties": s3.properties(KEY, SECRET),
        }
    )
    return replace(world, connections=world.connections.model_copy(update={"iceberg": iceberg}))


def warehouse_objects(world: World, s3: S3Server) -> set[str]:
    """The objects in a world's warehouse."""
    prefix = world.connections.iceberg.warehouse.removeprefix(f"s3://{BUCKET}/")
    return {key for key in s3.objects() if key.startswith(prefix)}
