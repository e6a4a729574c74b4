"""pyiceberg alone: ClickHouse's Arrow stream, appended in parts of a million rows that one transaction commits.

pyiceberg accepts a stream only for tables without partitions; the parts bound the memory here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import clickhouse_connect
import pyarrow as pa

from benchmarks.peers.catalog import create_table, load_table
from benchmarks.peers.request import Request

_ROWS = 1_000_000


def main() -> None:
    """Create the table, or fill it."""
    request = Request.read()
    server = request.clickhouse
    client = clickhouse_connect.get_client(
        host=server.host, port=server.port, username=server.user, password=server.password, database=server.database
    )
    if sys.argv[1:] == ["prepare"]:
        create_table(request, client.query_arrow(f"{request.query} LIMIT 0", use_strings=True).schema)
        return
    table = load_table(request)
    with client.query_arrow_stream(request.query, use_strings=True) as stream, table.transaction() as transaction:
        for part in _parts(stream):
            transaction.append(part)


def _parts(stream: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The stream's batches, collected into tables of about a million rows."""
    batches: list[pa.RecordBatch] = []
    for batch in stream:
        batches.append(batch)
        if sum(known.num_rows for known in batches) >= _ROWS:
            yield pa.Table.from_batches(batches)
            batches = []
    if batches:
        yield pa.Table.from_batches(batches)


if __name__ == "__main__":
    main()
