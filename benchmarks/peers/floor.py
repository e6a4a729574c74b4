"""The minimum: fetch a Parquet file from ClickHouse over HTTP into the table's folder, and commit it with pyiceberg.

There is no lock, marker, audit, branch or ledger; a second run loads everything twice. The route shows how much of the
offload's time is the copying itself.
"""

from __future__ import annotations

import http.client
import shutil
import sys
import uuid
from pathlib import Path
from urllib.parse import urlencode

import pyarrow.parquet as pq

from benchmarks.peers.catalog import create_table, load_table
from benchmarks.peers.request import Request

# The offload's settings (include/spark/offload_spark/fetch/clickhouse_source.py): both routes write the same files.
_SETTINGS = {
    "output_format_parquet_compression_method": "zstd",
    "output_format_compression_level": "1",
    "output_format_parquet_string_as_string": "1",
    "output_format_parquet_fixed_string_as_fixed_byte_array": "1",
    "output_format_parquet_write_bloom_filter": "0",
}


def download(request: Request, query: str, path: Path) -> None:
    """Write a query's result to a new Parquet file."""
    server = request.clickhouse
    login = {"X-ClickHouse-User": server.user, "X-ClickHouse-Key": server.password}
    connection = http.client.HTTPConnection(server.host, server.port)
    connection.request("POST", f"/?{urlencode({'database': server.database, **_SETTINGS})}", query, login)
    response = connection.getresponse()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(response, file, 1 << 20)
    if response.status != http.client.OK:
        sys.exit(path.read_text())


def main() -> None:
    """Create the table, or fill it."""
    request = Request.read()
    folder = request.folder / "data" / f"{request.timestamp}_day={request.day}"
    if sys.argv[1:] == ["prepare"]:
        sample = folder.parent / "sample.parquet"
        download(request, f"{request.query} LIMIT 0 FORMAT Parquet", sample)
        create_table(request, pq.read_schema(sample))
        sample.unlink()
        return
    file = folder / f"{uuid.uuid4()}.parquet"
    download(request, f"{request.query} FORMAT Parquet", file)
    load_table(request).add_files([f"file://{file}"], check_duplicate_files=False)


if __name__ == "__main__":
    main()
