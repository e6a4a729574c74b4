"""Everything a writer needs of its run."""

from __future__ import annotations

from dataclasses import dataclass

from offload_core.config.connections import IcebergConnection
from offload_core.config.settings import Settings
from offload_core.config.tables import TableConfig
from offload_core.source.projection import Column
from offload_spark.fetch.clickhouse_source import ClickHouseSource
from offload_spark.fetch.fetch import FetchStrategy
from offload_spark.iceberg.branch import Branch
from offload_spark.iceberg.data_files import DataFiles
from offload_spark.iceberg.table import IcebergTable


@dataclass(frozen=True, kw_only=True)
class WriteContext:
    """One attempt at one table: where its rows come from and where they go.

    Attributes:
        table: the table's entry.
        settings: the settings of the run.
        catalog: the connection of the Iceberg catalog.
        source: the ClickHouse table.
        columns: the projection.
        fetch: fetches the source's rows into the warehouse.
        iceberg: the Iceberg table.
        branch: this attempt's branch of it.
        files: its data files.
    """

    table: TableConfig
    settings: Settings
    catalog: IcebergConnection
    source: ClickHouseSource
    columns: list[Column]
    fetch: FetchStrategy
    iceberg: IcebergTable
    branch: Branch
    files: DataFiles
