"""Steps five to seven: fetch a chunk's rows as files, commit them to a branch, audit, publish."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from offload_core.config.connections import IcebergConnection
from offload_core.config.settings import Settings
from offload_core.config.tables import TableConfig
from offload_core.errors import AuditFailed, CommitStateUnknown, OffloadError, StartOver
from offload_core.failpoints import Failpoint, reach
from offload_core.protocol.marker import Marker
from offload_core.protocol.window import MICROSECOND, Window
from offload_core.source.projection import Column, project
from offload_spark.fetch.clickhouse_source import ClickHouseSource, Selection, Slice
from offload_spark.fetch.fetch import Fetching
from offload_spark.iceberg.table import DataFile, IcebergTable
from offload_spark.runtime.session import start_session
from offload_spark.write.merge import RowComparison

log = logging.getLogger("offload")

_FETCHES = 3
"""How often a chunk is fetched before late rows that keep arriving inside the window fail the attempt."""


@dataclass(frozen=True)
class Published:
    """What a chunk changed.

    Attributes:
        marker: what the commit carries, or would have.
        rows: rows that are new in Iceberg; for candles, newly closed ones.
        snapshot_id: the snapshot that `main` got, None if nothing had to change.
        total_records: the table's record count after it.
    """

    marker: Marker
    rows: int
    snapshot_id: int | None
    total_records: int | None


Commit = Callable[[Sequence[DataFile], Marker], "int | None"]
"""Commits files to the branch and returns how many rows that must have added; None where only Spark can tell."""


@dataclass(frozen=True)
class Plan:
    """What to fetch for a chunk and how to commit it.

    Attributes:
        selection, slices: the rows to fetch, counted by partition.
        commit: puts the files into the branch.
        keeps_files: True if the fetched files themselves become the table's, False if Spark only reads them.
    """

    selection: Selection
    slices: Sequence[Slice]
    commit: Commit
    keeps_files: bool


class ChunkWriter(ABC):
    """Writes one chunk after another of a table; subclasses say how its rows meet those already there."""

    _commits_before = 0
    """How many commits without a marker a chunk may put on the branch before the one that carries it."""

    def __init__(
        self,
        source: ClickHouseSource,
        iceberg: IcebergTable,
        fetching: Fetching,
        columns: Sequence[Column],
        table: TableConfig,
        settings: Settings,
        connection: IcebergConnection,
    ) -> None:
        self._source = source
        self._iceberg = iceberg
        self._fetching = fetching
        self._columns = columns
        self._table = table
        self._settings = settings
        self._connection = connection

    def write(
        self,
        window: Window,
        selection: Selection,
        slices: Sequence[Slice],
        marker: Marker,
        if_fewer: Callable[[], None] = lambda: None,
    ) -> Published:
        """Fetch, commit to the branch, audit and publish one chunk.

        Args:
            window: the chunk's window.
            selection, slices: its rows, counted by partition.
            marker: what the commit carries, as far as counting tells.
            if_fewer: called when fewer rows came than had been counted; raises if that must not be.

        Raises:
            AuditFailed, StartOver, CommitStateUnknown, ClickHouseUnavailable, CatalogUnavailable, FixColumn
        """
        plan = self._plan(window, selection, slices)
        files, counted = self._fetch(plan)
        reach(Failpoint.AFTER_FILES)
        referred = False
        try:
            self._require_same_source(marker)
            if sum(part.rows for part in counted) < sum(part.rows for part in plan.slices):
                if_fewer()
            if not files:
                log.info("The rows were gone when they were fetched.")
                return Published(marker, 0, None, None)
            marker = self._corrected(marker, counted)
            self._audit_files(files, window)
            self._iceberg.create_branch()
            referred = plan.keeps_files
            added = plan.commit(files, marker)
            reach(Failpoint.AFTER_BRANCH_COMMIT)
            published = self._publish(added, marker)
        except CommitStateUnknown:
            raise
        except OffloadError:
            self._discard([] if referred else files)
            raise
        if not plan.keeps_files:
            self._iceberg.delete_files(file.location for file in files)
        reach(Failpoint.AFTER_PUBLISH)
        return published

    @abstractmethod
    def _plan(self, window: Window, selection: Selection, slices: Sequence[Slice]) -> Plan:
        """Decide how this chunk is committed."""

    def _require_same_source(self, marker: Marker) -> None:
        """The files must have been fetched from the table that the attempt has planned for.

        Rows that came after an ALTER hold what the projection doesn't ask for yet. A fetch that saw one of them is over now, so this sees
        the ALTER too.
        """
        described = self._source.describe()
        if described.uuid != marker.source_uuid or project(self._table, described.columns) != list(self._columns):
            raise StartOver(
                f"The columns of {self._table.source} changed, or the table was replaced, while its rows were fetched.",
                "Nothing was published; the next attempt plans with the table as it is now.",
            )

    @abstractmethod
    def _audit_files(self, files: Sequence[DataFile], window: Window) -> None:
        """See that every file's timestamps lie where they must."""

    def _publish(self, added: int | None, marker: Marker) -> Published:
        if added == 0 or (added is None and not self._iceberg.branch_has_moved()):
            self._iceberg.drop_branch()
            return Published(marker, 0, None, None)
        self._iceberg.audit(marker, added, self._commits_before)
        reach(Failpoint.AFTER_AUDIT)
        return Published(marker, self._new_rows(added, marker), *self._iceberg.publish(marker))

    def _corrected(self, marker: Marker, counted: Sequence[Slice]) -> Marker:
        """The marker for what was fetched in the end."""
        return replace(marker, rows=sum(part.rows for part in counted), cursor=max(part.last for part in counted))

    def _new_rows(self, added: int | None, marker: Marker) -> int:
        """How many of the rows are new in Iceberg."""
        return marker.rows if added is None else added

    def _fetch(self, plan: Plan) -> tuple[list[DataFile], Sequence[Slice]]:
        """Fetch a plan's rows; the files hold as many as ClickHouse counts, which is returned too.

        Rows that arrive between counting and fetching make the two differ once; then a second count settles it.
        """
        slices = plan.slices
        self._fetching.expect(sum(part.rows for part in slices))
        for _ in range(_FETCHES):
            requests = self._source.plan_files(plan.selection, slices, self._settings.rows_per_file)
            files = self._fetching.fetch(requests, self._columns)
            fetched = sum(file.rows for file in files)
            for _ in ("counted before", "counted after"):
                counted = sum(part.rows for part in slices)
                if fetched == counted:
                    return files, slices
                slices = self._source.slices(plan.selection)
            self._iceberg.delete_files(file.location for file in files)
        raise AuditFailed(
            f"ClickHouse counts {counted} rows of {self._table.source} in the window but sent {fetched}.",
            "Nothing was published. If rows keep arriving this late, raise `buffer_minutes`.",
        )

    def _require_inside(self, files: Sequence[DataFile], lower: datetime | None, upper: datetime) -> None:
        for file in files:
            end = min(upper, self._table.partition.next(file.start) - MICROSECOND)
            if file.first < max(file.start, lower or file.start) or file.last > end:
                raise AuditFailed(
                    f"{file.location} holds timestamps from {file.first.isoformat(sep=' ')} to {file.last.isoformat(sep=' ')}, "
                    "outside its partition or the window.",
                    "Nothing was published; the next attempt fetches the window again.",
                )

    def _discard(self, files: Sequence[DataFile]) -> None:
        """Clean up after a failed attempt; files that a commit may refer to are left for the snapshot expiry."""
        try:
            self._iceberg.drop_branch()
            self._iceberg.delete_files(file.location for file in files)
        except OffloadError as error:
            log.warning("The attempt could not be cleaned up; the next one drops its branch: %s", error)

    def _comparison(self, *, of_main: bool = False) -> RowComparison:
        """Rows against this attempt's branch, or against `main`."""
        session = start_session(self._connection)
        return RowComparison(
            session, self._connection.name, self._table, None if of_main else self._iceberg.branch, self._columns
        )
