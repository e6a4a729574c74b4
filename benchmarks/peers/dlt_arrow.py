"""dlt: ClickHouse's Arrow stream as a resource, the filesystem destination with `table_format="iceberg"`.

This is dlt's fastest way: it writes Arrow batches to Parquet files, which pyiceberg appends. Both are described in
https://dlthub.com/docs, under "Arrow tables" and "Iceberg table format".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import dlt
import pyarrow as pa
from dlt.destinations import filesystem
from dlt.destinations.adapters import iceberg_adapter, iceberg_partition

from benchmarks.peers.request import Request


def main() -> None:
    """Load the rows; the first load creates the table."""
    request = Request.read()
    server = request.clickhouse
    client = clickhouse_connect.get_client(
        host=server.host, port=server.port, username=server.user, password=server.password, database=server.database
    )

    @dlt.resource(name=request.name, table_format="iceberg", write_disposition="append")
    def rows() -> Iterator[pa.RecordBatch]:
        with client.query_arrow_stream(request.query, use_strings=True) as stream:
            yield from stream

    pipeline = dlt.pipeline(
        pipeline_name=request.name,
        destination=filesystem(bucket_url=Path(request.warehouse).as_uri()),
        dataset_name=request.namespace,
    )
    resource = iceberg_adapter(rows, partition=iceberg_partition.day(request.timestamp))
    pipeline.run(resource).raise_on_failed_jobs()


if __name__ == "__main__":
    main()
