"""Creates the Iceberg tables from their ClickHouse tables, so that there is no hand-written DDL that could differ."""

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
from offload_spark.iceberg.schema_evolution import evolve_schema
from offload_spark.iceberg.table import IcebergTable
from offload_spark.job.main import run_and_report
from offload_spark.runtime.jvm import attach

_TABLES = TypeAdapter(list[TableConfig])


def main(argv: Sequence[str]) -> int:
    """Run the job. Its argument is the JSON list of tables; it prints one JSON object per table.

    Returns:
        The exit code of `run_and_report`.
    """
    return run_and_report(lambda: init_tables(_TABLES.validate_json(argv[0]), load_connections(os.environ)))


def init_tables(tables: Sequence[TableConfig], connections: Connections) -> None:
    """Create missing tables, and let existing tables follow their source's columns.

    Raises:
        FixColumn: Iceberg cannot hold or follow a column. The tables before this one are done, this one and the rest
            are not.
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
            # `offload init` is the operator's decision, so the schema may evolve even under the contract `freeze`.
            changes = evolve_schema(IcebergTable(jvm, catalog, table), columns, SchemaContract.EVOLVE)
            print(json.dumps({"table": table.name, "created": created, "changes": list(map(str, changes))}), flush=True)
