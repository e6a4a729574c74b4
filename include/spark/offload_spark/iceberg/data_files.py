"""The data files of an Iceberg table: which of them may hold some rows, and how new ones get into the warehouse."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from offload_core.errors import AuditFailed
from offload_spark.files.footers import Footers
from offload_spark.files.targets import TargetFactory, target_factory, unsupported_reason
from offload_spark.iceberg.errors import iceberg_errors
from offload_spark.iceberg.expressions import in_span, later_than
from offload_spark.iceberg.table import IcebergTable
from offload_spark.runtime.jvm import JavaObject


@dataclass(frozen=True)
class DataFile:
    """A complete Parquet file at its place in the warehouse, with the contents of its footer.

    Attributes:
        location: its path or URL.
        start: start of its partition, UTC.
        rows: its record count.
        first, last: least and greatest timestamp, UTC.
        java: Iceberg's own DataFile.
    """

    location: str
    start: datetime
    rows: int
    first: datetime
    last: datetime
    java: JavaObject


@dataclass(frozen=True)
class PartitionExtent:
    """What `main` holds of one partition.

    Attributes:
        rows: how many rows, without regard to delete files.
        first, last: least and greatest timestamp, UTC; None for an empty partition.
        exact: False if delete files, or files without bounds, make the other values uncertain.
    """

    rows: int
    first: datetime | None
    last: datetime | None
    exact: bool


class DataFiles:
    """The files of one table. Planning reads metadata only, and always of the attempt's snapshot of `main`."""

    def __init__(self, table: IcebergTable) -> None:
        self._table = table
        self._config = table.config

    # Planning

    def may_hold_rows_after(self, moment: datetime) -> bool:
        """Whether any data file of `main` may hold a row with a timestamp later than `moment`."""
        return self._may_hold(later_than(self._table.jvm, self._config.timestamp_col, moment))

    def may_hold_rows_between(self, start: datetime, end: datetime) -> bool:
        """Whether any data file of `main` may hold a row from `start` (inclusive) to `end` (exclusive)."""
        return self._may_hold(in_span(self._table.jvm, self._config.timestamp_col, start, end))

    def _may_hold(self, condition: JavaObject) -> bool:
        if self._table.base is None:
            return False
        with iceberg_errors(f"planning {self._config.target}"):
            files = self._table.java.newScan().useSnapshot(self._table.base).filter(condition).planFiles()
            try:
                return bool(files.iterator().hasNext())
            finally:
                files.close()

    def partition_extent(self, start: datetime) -> PartitionExtent:
        """What `main` holds of the partition that starts at `start`."""
        if self._table.base is None:
            return PartitionExtent(0, None, None, exact=True)
        inside = in_span(self._table.jvm, self._config.timestamp_col, start, self._config.partition.next(start))
        rows, first, last, exact = 0, None, None, True
        footers = self.footers()
        with iceberg_errors(f"planning {self._config.target}"):
            scan = self._table.java.newScan().useSnapshot(self._table.base)
            tasks = scan.filter(inside).includeColumnStats().planFiles()
            try:
                iterator = tasks.iterator()
                while iterator.hasNext():
                    task = iterator.next()
                    rows += task.file().recordCount()
                    bounds = footers.time_bounds(task.file())
                    exact = exact and bounds is not None and task.deletes().isEmpty()
                    if bounds is not None:
                        first, last = min(first or bounds[0], bounds[0]), max(last or bounds[1], bounds[1])
            finally:
                tasks.close()
        return PartitionExtent(rows, first, last, exact)

    # New files

    def new_location(self, start: datetime) -> str:
        """A location for a new data file of the partition that starts at `start`."""
        path = f"{self._partition_field()}={self._config.partition.path_value(start)}/{uuid.uuid4()}.parquet"
        return str(self._table.java.locationProvider().newDataLocation(path))

    def upload(self, local: Path, location: str) -> None:
        """Copy a complete local file into the warehouse through the table's own file system."""
        with iceberg_errors(f"writing {location}"):
            stream = self._table.java.io().newOutputFile(location).create()
            try:
                jvm = self._table.jvm
                jvm.java.nio.file.Files.copy(jvm.java.io.File(str(local)).toPath(), stream)
            finally:
                stream.close()

    def unsupported_reason(self) -> str | None:
        """Why executors cannot write this table's files; None if they can."""
        with iceberg_errors(f"checking the file store of {self._config.target}"):
            return unsupported_reason(self._table.java.location(), self._table.java.io())

    def target_factory(self) -> TargetFactory:
        """Makes targets for executors, which write the files of this table that the driver names."""
        with iceberg_errors(f"signing for the file store of {self._config.target}"):
            return target_factory(self._table.jvm, self._table.java.location(), self._table.java.io())

    def footers(self) -> Footers:
        """Describes files of this table with its current columns."""
        with iceberg_errors(f"reading {self._config.target}"):
            return Footers(self._table.jvm, self._table.java, self._config.timestamp_col)

    def describe(self, footers: Footers, location: str, start: datetime, size: int, footer: bytes) -> DataFile | None:
        """The contents of a file's footer. A file without rows is deleted; then the result is None.

        Args:
            footers: of this table, created once for many files.
            location: the file's path or URL.
            start: start of its partition, UTC.
            size, footer: as `read_footer` returns them.

        Raises:
            AuditFailed: the footer has no bounds for the timestamp column.
        """
        with iceberg_errors(f"reading the footer of {location}"):
            java = footers.describe(location, size, footer, self._partition_path(start))
            rows, bounds = java.recordCount(), footers.time_bounds(java)
        if rows == 0:
            self.delete([location])
            return None
        if bounds is None:
            raise AuditFailed(
                f"The footer of {location} has no bounds for {self._config.timestamp_col}.",
                "Nothing was published; inspect the file.",
            )
        return DataFile(location, start, rows, bounds[0], bounds[1], java)

    def delete(self, locations: Iterable[str]) -> None:
        """Delete files that no commit ever referred to."""
        for location in locations:
            with iceberg_errors(f"deleting {location}"):
                self._table.java.io().deleteFile(location)

    def _partition_field(self) -> str:
        return f"{self._config.timestamp_col}_{self._config.partition.value}"

    def _partition_path(self, start: datetime) -> str:
        return f"{self._partition_field()}={self._config.partition.metadata_value(start)}"
