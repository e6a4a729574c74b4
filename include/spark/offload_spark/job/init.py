"""Making the Iceberg tables from the ClickHouse tables they follow: one rule for all, so no hand-written DDL can drift from the source."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import closing

from pydantic import TypeAdapter

from offload_core.config.connections import Connections, load_connections
from offload_core.config.tables import SchemaContract, TableConfig
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.projection import project
from offload_spark.fetch.clickhouse_source import ClickHouseSource
from offload_spark.iceberg.catalog import create_table, open_catalog
from offload_spark.iceberg.table import IcebergTable
from offload_spark.job.main import guarded
from offload_spark.runtime.jvm import attach

_TABLES = TypeAdapter(list[TableConfig])


def main(argv: Sequence[str]) -> int:
    """Run the job; its one argument is the JSON list of tables. Prints one JSON object per table. Returns `offload_spark.job.main`."""
    return guarded(lambda: init_tables(_TABLES.validate_json(argv[0]), load_connections(os.environ)))


def init_tables(tables: Sequence[TableConfig], connections: Connections) -> None:
    """Create what is missing; an existing table follows its source's columns.

    Raises:
        FixColumn: a column can't be offloaded, or not be followed. The tables before it are done, it and those behind it are not.
    """
    jvm = attach()
    with (
        open_catalog(jvm, connections.iceberg) as catalog,
        closing(ClickHouse(connections.clickhouse)) as client,
    ):
        for table in tables:
            columns = project(
                table, ClickHouseSource(client, table, connections.clickhouse.database).describe().columns
            )
            created = create_table(jvm, catalog, table, columns)
            # An operator's own decision: it counts under either contract.
            changes = IcebergTable(jvm, catalog, table, "init").follow_columns(columns, SchemaContract.EVOLVE)
            print(json.dumps({"table": table.name, "created": created, "changes": list(map(str, changes))}), flush=True)
