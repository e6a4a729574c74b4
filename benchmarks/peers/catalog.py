"""The Iceberg catalog and a table in it, created as in pyiceberg's documentation."""

from __future__ import annotations

import pyarrow as pa
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.table import Table
from pyiceberg.transforms import DayTransform
from sqlalchemy.engine import URL

from benchmarks.peers.request import Request


def open_catalog(request: Request) -> Catalog:
    """Return the SQL catalog in PostgreSQL, which Spark's JDBC catalog uses too."""
    server = request.catalog
    url = URL.create(
        "postgresql+psycopg",
        username=server.user,
        password=server.password,
        host=server.host,
        port=server.port,
        database=server.database,
    )
    return load_catalog("demo", type="sql", uri=url.render_as_string(hide_password=False))


def create_table(request: Request, schema: pa.Schema) -> Table:
    """Create an empty table with these columns, partitioned by day."""
    catalog = open_catalog(request)
    catalog.create_namespace_if_not_exists(request.namespace)
    table = catalog.create_table((request.namespace, request.name), schema, location=request.folder.as_uri())
    with table.update_spec() as spec:
        spec.add_field(request.timestamp, DayTransform(), f"{request.timestamp}_day")
    return table


def load_table(request: Request) -> Table:
    """Return the current table."""
    return open_catalog(request).load_table((request.namespace, request.name))
