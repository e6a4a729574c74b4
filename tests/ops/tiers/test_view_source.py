"""If the cold files are in S3, the view reads them through a named collection, and its text contains no key."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.table import StaticTable
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.typedef import EMPTY_DICT
from pyiceberg.types import LongType, NestedField

from offload_core.config.connections import IcebergConnection
from offload_core.errors import FixConfiguration, FixSource, QueryFailed
from offload_core.source.clickhouse import ClickHouse
from offload_ops.tiers.view import iceberg_source, require_collection
from tests.support.stack.servers import HotTier, unique_name

IN_S3 = IcebergConnection(type="rest", uri="https://catalog.example", warehouse="s3://lake/warehouse/")


def table_at(location: str) -> StaticTable:
    """A table at this location; its files are never read."""
    schema = Schema(NestedField(1, "id", LongType(), required=True))
    metadata = new_table_metadata(schema, UNPARTITIONED_PARTITION_SPEC, UNSORTED_SORT_ORDER, location)
    return StaticTable(("trades",), metadata, f"{location}/metadata/0.json", PyArrowFileIO(EMPTY_DICT), None)  # type: ignore[arg-type]


@contextmanager
def object_store() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """An empty bucket: its address, and the requests to it with their authorization."""
    requests: list[tuple[str, str]] = []

    class Bucket(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append((self.path, self.headers.get("Authorization", "")))
            answer = b"<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def collection(clickhouse: HotTier) -> Iterator[str]:
    """A name for a collection, which is dropped at the end."""
    name = unique_name("offload_cold")
    yield name
    clickhouse.client.command(f"DROP NAMED COLLECTION IF EXISTS {name}")


@pytest.mark.integration
class TestNamedCollection:
    def test_tells_clickhouse_where_the_files_are_and_the_key(self, clickhouse: HotTier, collection: str) -> None:
        source = iceberg_source(table_at("s3a://lake/warehouse/cold/trades"), IN_S3, collection)
        with object_store() as (address, requests):
            create_collection(clickhouse.client, collection, address)
            require_collection(clickhouse.client, source, IN_S3)
            with pytest.raises(QueryFailed):
                clickhouse.client.rows(f"SELECT count() AS n FROM {source.function}")
        assert requests
        assert all("prefix=warehouse%2Fcold%2Ftrades%2F" in path and path.startswith("/lake") for path, _ in requests)
        assert all("Credential=reader/" in authorization for _, authorization in requests)
        assert "reader" not in source.function

    def test_that_is_missing_is_an_error_with_the_statement_that_creates_it(
        self, clickhouse: HotTier, collection: str
    ) -> None:
        source = iceberg_source(table_at("s3://lake/warehouse/cold/trades"), IN_S3, collection)
        with pytest.raises(FixSource, match=r"CREATE NAMED COLLECTION .* url = '.*/lake/warehouse/'"):
            require_collection(clickhouse.client, source, IN_S3)


def create_collection(client: ClickHouse, name: str, address: str) -> None:
    client.command(
        f"CREATE NAMED COLLECTION {name} AS url = '{address}/lake/warehouse/', "
        "access_key_id = 'reader', secret_access_key = 'hidden'"
    )


@pytest.mark.parametrize(
    ("location", "reason"),
    [("s3://elsewhere/cold/trades", "not below the warehouse"), ("gs://lake/warehouse/cold/trades", "a gs store")],
)
def test_there_is_no_view_of_files_that_clickhouse_cannot_read(location: str, reason: str) -> None:
    with pytest.raises(FixConfiguration, match=reason):
        iceberg_source(table_at(location), IN_S3)
