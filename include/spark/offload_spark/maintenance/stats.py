"""Measures an Iceberg table, as its readers experience it. Counts come from metadata; no data file is opened."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from offload_core.config.settings import Settings
from offload_core.config.tables import TableConfig
from offload_core.maintenance import MEGABYTE, SMALL, PartitionFiles, TableStats, sort_columns
from offload_spark.iceberg.errors import iceberg_errors, spark_errors
from offload_spark.iceberg.expressions import in_span
from offload_spark.runtime.jvm import JavaObject
from offload_spark.runtime.spark_sql import quote, quote_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_PLANNING_REPEATS = 5
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class MaintenanceTarget:
    """A table in the JVM and in Spark.

    Attributes:
        jvm: the launcher's JVM.
        table: Iceberg's table.
        session: a session with the catalog.
        catalog: the catalog's name in the session.
        config, settings: the table's entry and the settings.
    """

    jvm: JavaObject
    table: JavaObject
    session: SparkSession
    catalog: str
    config: TableConfig
    settings: Settings

    @property
    def name(self) -> str:
        """The table's full name in Spark, quoted."""
        return quote_table(self.catalog, self.config.target)


def small_below(settings: Settings) -> int:
    """The size (bytes) below which a data file counts as small."""
    return int(settings.compaction_target_mb * MEGABYTE * SMALL)


def partition_files(target: MaintenanceTarget) -> list[PartitionFiles]:
    """The data files of the current snapshot by partition, without those of a foreign partition spec."""
    column = quote(f"{target.config.timestamp_col}_{target.config.partition.value}")
    small = f"content = 0 AND file_size_in_bytes < {small_below(target.settings)}"
    query = (
        f"SELECT CAST(partition.{column} AS STRING) AS value, count_if(content = 0) AS files, "  # noqa: S608 - quoted
        f"sum(if(content = 0, file_size_in_bytes, 0)) AS bytes, count_if({small}) AS small_files, "
        f"sum(if({small}, file_size_in_bytes, 0)) AS small_bytes, count_if(content > 0) AS delete_files "
        f"FROM {target.name}.files WHERE partition.{column} IS NOT NULL GROUP BY 1 ORDER BY 1"
    )
    with spark_errors(f"counting the files of {target.config.target}"):
        rows = target.session.sql(query).collect()
    return [
        PartitionFiles(
            target.config.partition.start_of(row.value),
            row.files,
            row.bytes,
            row.small_files,
            row.small_bytes,
            row.delete_files,
        )
        for row in rows
    ]


def measure(target: MaintenanceTarget) -> TableStats:
    """Measure the table's current state."""
    with iceberg_errors(f"measuring {target.config.target}"):
        target.table.refresh()
        snapshot = target.table.currentSnapshot()
        metadata = target.table.operations().current()
        manifests = len(snapshot.allManifests(target.table.io())) if snapshot is not None else 0
        snapshots, metadata_files = len(metadata.snapshots()), len(metadata.previousFiles()) + 1
    partitions = partition_files(target) if snapshot is not None else []
    milliseconds, planned = (
        _plan_typical_read(target, max(files.start for files in partitions)) if partitions else (0.0, 0)
    )
    return TableStats(
        data_files=sum(files.files for files in partitions),
        bytes=sum(files.bytes for files in partitions),
        small_files=sum(files.small_files for files in partitions),
        delete_files=sum(files.delete_files for files in partitions),
        snapshots=snapshots,
        manifests=manifests,
        metadata_files=metadata_files,
        planning_milliseconds=milliseconds,
        planned_files=planned,
    )


def _plan_typical_read(target: MaintenanceTarget, newest: datetime) -> tuple[float, int]:
    """Plan a typical read: one hour in the middle of the last but one partition, of one symbol if the table has any.

    Returns:
        The shortest of several planning times in milliseconds, and how many files the read would open.
    """
    partition = target.config.partition
    start = partition.floor(newest - timedelta(microseconds=1))
    hour = (start + (partition.next(start) - start) / 2).replace(minute=0, second=0, microsecond=0)
    with iceberg_errors(f"planning a read of {target.config.target}"):
        condition = _typical_read(target, hour)
        plans = [_time_planning(target.table.newScan().filter(condition)) for _ in range(_PLANNING_REPEATS)]
    return round(min(seconds for seconds, _ in plans) * 1000, 2), plans[0][1]


def _typical_read(target: MaintenanceTarget, hour: datetime) -> JavaObject:
    expressions = target.jvm.org.apache.iceberg.expressions.Expressions
    condition = in_span(target.jvm, target.config.timestamp_col, hour, hour + _HOUR)
    for name in sort_columns(target.config):
        field = target.table.schema().findField(name)
        if field is not None and str(field.type()) == "string":
            symbol = _some_value(target, field)
            if symbol is not None:
                condition = getattr(expressions, "and")(condition, expressions.equal(name, symbol))
            return condition
    return condition


def _some_value(target: MaintenanceTarget, field: JavaObject) -> str | None:
    """A value of the column: the least one in some file."""
    tasks = target.table.newScan().includeColumnStats().planFiles()
    try:
        iterator = tasks.iterator()
        bounds = iterator.next().file().lowerBounds() if iterator.hasNext() else None
    finally:
        tasks.close()
    bound = bounds.get(field.fieldId()) if bounds is not None else None
    if bound is None:
        return None
    return str(target.jvm.org.apache.iceberg.types.Conversions.fromByteBuffer(field.type(), bound))


def _time_planning(scan: JavaObject) -> tuple[float, int]:
    """Planning time in seconds, and how many files were planned."""
    started, count = time.perf_counter(), 0
    tasks = scan.planFiles()
    try:
        iterator = tasks.iterator()
        while iterator.hasNext():
            iterator.next()
            count += 1
    finally:
        tasks.close()
    return time.perf_counter() - started, count
