"""One Iceberg table during one attempt: what `main` says, and a branch that is filled, audited and published.

Everything is written to a branch of this attempt, made from `main` as it was when the attempt looked at it. Publishing fast-forwards
`main` to the branch: a compare-and-set, refused if anything else has moved `main` since.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from offload_core.config.tables import SchemaContract, TableConfig
from offload_core.errors import AuditFailed, CommitStateUnknown, OffloadError, StartOver
from offload_core.ledger.reconcile import ColdState
from offload_core.protocol.marker import Marker
from offload_core.protocol.window import Partition, to_micros
from offload_core.source.projection import Column
from offload_core.source.schema_drift import Change
from offload_spark.files.footers import Footers
from offload_spark.files.targets import Sign, obstacle, signer
from offload_spark.iceberg.catalog import iceberg_errors, identifier
from offload_spark.iceberg.history import cold_state, live_rows
from offload_spark.iceberg.schema_evolution import field_ids, follow
from offload_spark.runtime.jvm import JavaObject

BRANCH_PREFIX = "offload_attempt_"
_MAIN = "main"


@dataclass(frozen=True)
class DataFile:
    """A complete Parquet file at its place in the warehouse, with what its footer says.

    Attributes:
        location: where it lies.
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


class IcebergTable:
    """A table of the catalog and this attempt's branch of it.

    Args:
        jvm: the launcher's JVM.
        catalog: the open catalog.
        config: the table's entry.
        attempt_id: unique name of the attempt; becomes the branch's name.

    Raises:
        TargetTableMissing: the table does not exist.
    """

    def __init__(self, jvm: JavaObject, catalog: JavaObject, config: TableConfig, attempt_id: str) -> None:
        self._jvm = jvm
        self._config = config
        self.branch = f"{BRANCH_PREFIX}{attempt_id}"
        with iceberg_errors(f"opening {config.target}"):
            self._table = catalog.loadTable(identifier(jvm, config.target))
        self._pin()

    def _pin(self) -> None:
        """Take `main` as it is now for what the attempt decides by, and for what its branch is made from."""
        snapshot = self._table.currentSnapshot()
        self._base: int | None = snapshot.snapshotId() if snapshot is not None else None

    # What the table says

    def refresh(self) -> None:
        """Read the newest metadata; what the attempt decides by stays as it was."""
        with iceberg_errors(f"reading {self._config.target}"):
            self._table.refresh()

    def cold_state(self, pipeline: str) -> ColdState:
        """What `main` says of this pipeline's newest commit and of what has happened since."""
        with iceberg_errors(f"reading the snapshots of {self._config.target}"):
            return cold_state(self._table, pipeline)

    def follow_columns(self, columns: Sequence[Column], contract: SchemaContract) -> list[Change]:
        """Let the table follow the projection's columns as `offload_core.source.schema_drift` says; return what was changed.

        All of it is one commit; the snapshot that the attempt looks at stays the same.

        Raises:
            FixColumn: a column can't be followed, or the contract forbids it; nothing was changed.
            StartOver: somebody else changed the table meanwhile; nothing was changed.
        """
        with iceberg_errors(f"changing the columns of {self._config.target}"):
            return follow(self._jvm, self._table, self._config, columns, contract)

    def numbered(self, columns: Sequence[Column]) -> list[Column]:
        """The projection's columns with the field ids that the table has given them."""
        with iceberg_errors(f"reading the columns of {self._config.target}"):
            ids = field_ids(self._table)
        return [replace(column, field_id=ids[column.name]) for column in columns]

    def may_hold_rows_after(self, moment: datetime) -> bool:
        """Whether any data file of `main` may hold a row with a timestamp later than `moment`; from metadata only."""
        expressions = self._jvm.org.apache.iceberg.expressions.Expressions
        return self._may_hold(expressions.greaterThan(self._config.timestamp_col, _literal(moment)))

    def may_hold_rows_between(self, start: datetime, end: datetime) -> bool:
        """Whether any data file of `main` may hold a row from `start` (inclusive) to `end` (exclusive); from metadata only."""
        return self._may_hold(self._between(start, end))

    def _may_hold(self, condition: JavaObject) -> bool:
        if self._base is None:
            return False
        with iceberg_errors(f"planning {self._config.target}"):
            files = self._table.newScan().useSnapshot(self._base).filter(condition).planFiles()
            try:
                return bool(files.iterator().hasNext())
            finally:
                files.close()

    def _between(self, start: datetime, end: datetime) -> JavaObject:
        expressions, column = self._jvm.org.apache.iceberg.expressions.Expressions, self._config.timestamp_col
        return getattr(expressions, "and")(
            expressions.greaterThanOrEqual(column, _literal(start)), expressions.lessThan(column, _literal(end))
        )

    def partition_extent(self, start: datetime) -> PartitionExtent:
        """What `main` holds of the partition that starts at `start`; from metadata only."""
        if self._base is None:
            return PartitionExtent(0, None, None, exact=True)
        inside = self._between(start, self._config.partition.next(start))
        rows, first, last, exact = 0, None, None, True
        footers = self.footers()
        with iceberg_errors(f"planning {self._config.target}"):
            tasks = self._table.newScan().useSnapshot(self._base).filter(inside).includeColumnStats().planFiles()
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

    # Files

    def new_file_location(self, start: datetime) -> str:
        """Where a new data file of the partition that starts at `start` belongs."""
        path = f"{self._partition_field()}={self._config.partition.path_value(start)}/{uuid.uuid4()}.parquet"
        return str(self._table.locationProvider().newDataLocation(path))

    def upload(self, local: Path, location: str) -> None:
        """Copy a complete local file into the warehouse through the table's own file system."""
        with iceberg_errors(f"writing {location}"):
            stream = self._table.io().newOutputFile(location).create()
            try:
                self._jvm.java.nio.file.Files.copy(self._jvm.java.io.File(str(local)).toPath(), stream)
            finally:
                stream.close()

    def spread_obstacle(self) -> str | None:
        """Why executors can't write this table's files, None where they can."""
        with iceberg_errors(f"looking at the file store of {self._config.target}"):
            return obstacle(self._table.location(), self._table.io())

    def signer(self) -> Sign:
        """What lets executors write files of this table that the driver names."""
        with iceberg_errors(f"signing for the file store of {self._config.target}"):
            return signer(self._jvm, self._table.location(), self._table.io())

    def footers(self) -> Footers:
        """What describes files of this table, as its columns are now."""
        with iceberg_errors(f"reading {self._config.target}"):
            return Footers(self._jvm, self._table, self._config.timestamp_col)

    def describe_file(
        self, footers: Footers, location: str, start: datetime, size: int, footer: bytes
    ) -> DataFile | None:
        """What a data file's footer says; a file without rows is deleted, and None is returned.

        Args:
            footers: this table's, made once for many files.
            location: where the file lies.
            start: start of its partition, UTC.
            size, footer: as `read_footer` returns them.
        """
        with iceberg_errors(f"reading the footer of {location}"):
            java = footers.describe(location, size, footer, self._partition_path(start))
            rows, bounds = java.recordCount(), footers.time_bounds(java)
        if rows == 0:
            self.delete_files([location])
            return None
        if bounds is None:
            raise AuditFailed(
                f"The footer of {location} has no bounds for {self._config.timestamp_col}.",
                "Nothing was published; look at the file.",
            )
        return DataFile(location, start, rows, bounds[0], bounds[1], java)

    def delete_files(self, locations: Iterable[str]) -> None:
        """Remove files that no commit ever referred to."""
        for location in locations:
            with iceberg_errors(f"deleting {location}"):
                self._table.io().deleteFile(location)

    # The branch

    def create_branch(self) -> None:
        """Make this attempt's branch from the snapshot it has looked at, and drop those that dead attempts have left behind.

        The caller holds the table's lock, so no other living attempt has one. A write that made the branch by itself would start its
        totals from zero; only an empty table has no snapshot to make it from, and there zero is right.
        """
        with iceberg_errors(f"creating a branch of {self._config.target}"):
            self._table.refresh()
            update, changed = self._table.manageSnapshots(), False
            for name in list(self._table.refs().keySet()):
                if name.startswith(BRANCH_PREFIX):
                    update, changed = update.removeBranch(name), True
            if self._base is not None:
                update, changed = update.createBranch(self.branch, self._base), True
            if changed:
                update.commit()

    def has_branch(self) -> bool:
        """Whether this attempt's branch exists yet; on an empty table the first commit makes it."""
        return bool(self._table.refs().containsKey(self.branch))

    def branch_has_moved(self) -> bool:
        """Whether anything was committed to the branch.

        Raises:
            StartOver: the branch is gone; what was committed to it can't be told any more.
        """
        self.refresh()
        snapshot = self._table.snapshot(self.branch)
        if snapshot is None:
            raise StartOver(
                f"The branch of {self._config.target} was dropped during this attempt.",
                "Nothing was published; the next attempt starts from the newest state.",
            )
        return bool(snapshot.snapshotId() != self._base)

    def append(self, files: Sequence[DataFile], marker: Marker) -> None:
        """Add the files to the branch in one commit that carries the marker."""
        self._commit(self._table.newAppend(), [("appendFile", file) for file in files], marker)

    def replace_partitions(self, files: Sequence[DataFile], marker: Marker) -> None:
        """Replace the files' whole partitions on the branch in one commit that carries the marker."""
        self._commit(self._table.newReplacePartitions(), [("addFile", file) for file in files], marker)

    def _commit(self, update: JavaObject, changes: list[tuple[str, DataFile]], marker: Marker) -> None:
        with iceberg_errors(f"committing to the branch of {self._config.target}"):
            update = update.toBranch(self.branch)
            for key, value in marker.to_summary().items():
                update = update.set(key, value)
            for method, file in changes:
                update = getattr(update, method)(file.java)
            update.commit()

    def audit(self, marker: Marker, added: int | None, commits_before: int = 0) -> int:
        """See that the branch's head is this attempt's commit on top of `main`, with the rows it should have added.

        Args:
            marker: the attempt's marker.
            added: rows that the commit must have added, None where Spark decided.
            commits_before: how many commits without a marker the attempt may have made below it.

        Returns:
            The rows it added.

        Raises:
            AuditFailed: it isn't, or it didn't.
        """
        self.refresh()
        snapshot = self._table.snapshot(self.branch)
        summary = dict(snapshot.summary()) if snapshot else {}
        found = int(summary.get("added-records", 0))
        problem = None
        if snapshot is None or Marker.from_summary(summary, marker.pipeline) != marker:
            problem = "its head is not this attempt's commit"
        elif not self._sits_on_base(snapshot, commits_before):
            problem = "it does not sit on the snapshot that main had when the attempt began"
        elif added is not None and found != added:
            problem = f"Iceberg says {found} rows were added, the files hold {added}"
        if problem:
            raise AuditFailed(
                f"The branch of {self._config.target} is not what this attempt wrote: {problem}.",
                "Nothing was published; the next attempt fetches the window again.",
            )
        return found

    def _sits_on_base(self, snapshot: JavaObject, commits_before: int) -> bool:
        parent = snapshot.parentId()
        while parent != self._base and commits_before > 0 and parent is not None:
            parent, commits_before = self._table.snapshot(parent).parentId(), commits_before - 1
        return bool(parent == self._base)

    def publish(self, marker: Marker) -> tuple[int, int]:
        """Fast-forward `main` to the branch and drop the branch, both in one commit.

        Returns:
            `main`'s new snapshot id and its record count.

        Raises:
            StartOver: `main` was moved by somebody else; nothing was published.
            CommitStateUnknown: the outcome can't be told.
        """
        try:
            with iceberg_errors(f"publishing {self._config.target}"):
                self._table.manageSnapshots().fastForwardBranch(_MAIN, self.branch).removeBranch(self.branch).commit()
        except OffloadError as error:
            if not self._is_published(marker, error):
                raise
        self._pin()
        snapshot = self._table.currentSnapshot()
        return int(snapshot.snapshotId()), live_rows(snapshot.summary())

    def _is_published(self, marker: Marker, error: OffloadError) -> bool:
        """Look for the own marker before deciding anything."""
        try:
            self.refresh()
            return self.cold_state(marker.pipeline).marker == marker
        except OffloadError as second:
            raise CommitStateUnknown(
                f"{error.problem} Whether main of {self._config.target} moved can't be told either: {second.problem}",
                "Nothing was deleted; the next attempt finds the marker, or doesn't, and carries on from there.",
            ) from error

    def drop_branch(self) -> None:
        """Drop this attempt's branch if it is there; `main` keeps what was published."""
        with iceberg_errors(f"dropping the branch of {self._config.target}"):
            self.refresh()
            if self._table.refs().containsKey(self.branch):
                self._table.manageSnapshots().removeBranch(self.branch).commit()

    def _partition_field(self) -> str:
        return f"{self._config.timestamp_col}_{self._config.partition.value}"

    def _partition_path(self, start: datetime) -> str:
        return f"{self._partition_field()}={partition_value(self._config.partition, start)}"


@dataclass(frozen=True)
class PartitionExtent:
    """What `main` holds of one partition: rows, first and last timestamp, and whether no delete files blur that."""

    rows: int
    first: datetime | None
    last: datetime | None
    exact: bool


def _literal(moment: datetime) -> str:
    """A moment as Iceberg's expressions read it: py4j would hand a small number over as an Integer, which they refuse."""
    return moment.isoformat(timespec="microseconds")


def partition_value(partition: Partition, start: datetime) -> str:
    """A partition's value as Iceberg's path parser reads it: a date for days, else periods since 1970."""
    if partition is Partition.DAY:
        return start.strftime("%Y-%m-%d")
    if partition is Partition.HOUR:
        return str(to_micros(start) // 3_600_000_000)
    if partition is Partition.MONTH:
        return str((start.year - 1970) * 12 + start.month - 1)
    return str(start.year - 1970)
