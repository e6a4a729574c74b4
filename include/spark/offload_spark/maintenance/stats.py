"""Measuring an Iceberg table: what its readers pay for. Counts come from metadata; no data file is opened."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from offload_core.config.settings import Settings
from offload_core.config.tables import TableConfig
from offload_core.maintenance import MEGABYTE, SMALL, Figures, PartitionFiles, partition_start, sort_columns
from offload_spark.iceberg.catalog import iceberg_errors
from offload_spark.runtime.jvm import JavaObject
from offload_spark.write.merge import quote, spark_errors

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_PLANNINGS = 5
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Place:
    """A table, as the JVM and as Spark know it.

    Attributes:
        jvm: the launcher's JVM.
        table: Iceberg's table.
        session: a session that knows the catalog.
        name: the table's name in Spark, quoted.
        config, settings: its entry and the settings.
    """

    jvm: JavaObject
    table: JavaObject
    session: SparkSession
    name: str
    config: TableConfig
    settings: Settings


def small_below(settings: Settings) -> int:
    """The size (bytes) below which a data file counts as a small one."""
    return int(settings.compaction_target_mb * MEGABYTE * SMALL)


def partition_files(place: Place) -> list[PartitionFiles]:
    """The data files of the current snapshot, by partition; files of another partitioning than the offload's are left out."""
    column = quote(f"{place.config.timestamp_col}_{place.config.partition.value}")
    small = f"content = 0 AND file_size_in_bytes < {small_below(place.settings)}"
    query = (
        f"SELECT CAST(partition.{column} AS STRING) AS value, count_if(content = 0) AS files, "  # noqa: S608 - quoted
        f"sum(if(content = 0, file_size_in_bytes, 0)) AS bytes, count_if({small}) AS small_files, "
        f"sum(if({small}, file_size_in_bytes, 0)) AS small_bytes, count_if(content > 0) AS delete_files "
        f"FROM {place.name}.files WHERE partition.{column} IS NOT NULL GROUP BY 1 ORDER BY 1"
    )
    with spark_errors(f"counting the files of {place.config.target}"):
        rows = place.session.sql(query).collect()
    return [
        PartitionFiles(
            partition_start(place.config.partition, row.value),
            row.files,
            row.bytes,
            row.small_files,
            row.small_bytes,
            row.delete_files,
        )
        for row in rows
    ]


def measure(place: Place) -> Figures:
    """The table's figures as it is now."""
    with iceberg_errors(f"measuring {place.config.target}"):
        place.table.refresh()
        snapshot = place.table.currentSnapshot()
        metadata = place.table.operations().current()
        manifests = len(snapshot.allManifests(place.table.io())) if snapshot is not None else 0
        snapshots, metadata_files = len(metadata.snapshots()), len(metadata.previousFiles()) + 1
    partitions = partition_files(place) if snapshot is not None else []
    milliseconds, planned = _plan(place, max(files.start for files in partitions)) if partitions else (0.0, 0)
    return Figures(
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


def _plan(place: Place, newest: datetime) -> tuple[float, int]:
    """Plan a typical read: one hour in the middle of the last partition but one, of one symbol where the table has such a column.

    Returns:
        The quickest of some plannings in milliseconds, and how many files the read would open.
    """
    partition = place.config.partition
    start = partition.floor(newest - timedelta(microseconds=1))
    hour = (start + (partition.next(start) - start) / 2).replace(minute=0, second=0, microsecond=0)
    with iceberg_errors(f"planning a read of {place.config.target}"):
        condition = _reading(place, hour)
        found = [_planned(place.table.newScan().filter(condition)) for _ in range(_PLANNINGS)]
    return round(min(seconds for seconds, _ in found) * 1000, 2), found[0][1]


def _reading(place: Place, hour: datetime) -> JavaObject:
    expressions, column = place.jvm.org.apache.iceberg.expressions.Expressions, place.config.timestamp_col
    both = getattr(expressions, "and")
    condition = both(
        expressions.greaterThanOrEqual(column, hour.isoformat(timespec="microseconds")),
        expressions.lessThan(column, (hour + _HOUR).isoformat(timespec="microseconds")),
    )
    for name in sort_columns(place.config):
        field = place.table.schema().findField(name)
        if field is not None and str(field.type()) == "string":
            symbol = _some_value(place, field)
            return both(condition, expressions.equal(name, symbol)) if symbol is not None else condition
    return condition


def _some_value(place: Place, field: JavaObject) -> str | None:
    """A value that the column has: the least one of some file."""
    tasks = place.table.newScan().includeColumnStats().planFiles()
    try:
        iterator = tasks.iterator()
        bounds = iterator.next().file().lowerBounds() if iterator.hasNext() else None
    finally:
        tasks.close()
    bound = bounds.get(field.fieldId()) if bounds is not None else None
    if bound is None:
        return None
    return str(place.jvm.org.apache.iceberg.types.Conversions.fromByteBuffer(field.type(), bound))


def _planned(scan: JavaObject) -> tuple[float, int]:
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
