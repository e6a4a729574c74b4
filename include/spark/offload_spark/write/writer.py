"""Writes one chunk: fetches its rows as files, commits them to a branch, audits the branch and publishes it."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from offload_core.errors import AuditFailed, CommitStateUnknown, OffloadError, StartOver
from offload_core.failpoints import Failpoint, reach
from offload_core.protocol.marker import Marker
from offload_core.protocol.window import MICROSECOND, Window
from offload_core.source.projection import project
from offload_spark.fetch.clickhouse_source import Selection, Slice
from offload_spark.iceberg.data_files import DataFile
from offload_spark.runtime.session import start_session
from offload_spark.write.context import WriteContext
from offload_spark.write.merge import RowComparison

log = logging.getLogger("offload")

_MAX_FETCHES = 3
"""How often a chunk is fetched. After that, rows that keep arriving late inside the window fail the attempt."""


@dataclass(frozen=True)
class Published:
    """The result of writing one chunk.

    Attributes:
        marker: the commit's marker, or the one that it would have had.
        rows: rows that are new in Iceberg; for candles, newly closed ones.
        snapshot_id: the new snapshot of `main`; None if nothing had to change.
        total_records: the table's record count after the commit.
    """

    marker: Marker
    rows: int
    snapshot_id: int | None
    total_records: int | None


Commit = Callable[[Sequence[DataFile], Marker], "int | None"]
"""Commits files to the branch. Returns how many rows the commit must have added; None if only Spark knows."""


@dataclass(frozen=True)
class Plan:
    """What to fetch for a chunk and how to commit it.

    Attributes:
        selection, slices: the rows to fetch, counted by partition.
        commit: commits the fetched files to the branch.
        keeps_files: True if the fetched files become data files of the table, False if Spark only reads them.
    """

    selection: Selection
    slices: Sequence[Slice]
    commit: Commit
    keeps_files: bool


class ChunkWriter(ABC):
    """Writes one chunk of a table after another. Subclasses decide how its rows meet those already in Iceberg."""

    _commits_before = 0
    """How many commits without a marker a chunk may add to the branch before the one with the marker."""

    def __init__(self, context: WriteContext) -> None:
        self._context = context
        self._table = context.table
        self._source = context.source
        self._branch = context.branch
        self._files = context.files

    def write(
        self,
        window: Window,
        selection: Selection,
        slices: Sequence[Slice],
        marker: Marker,
        on_fewer_rows: Callable[[], None] = lambda: None,
    ) -> Published:
        """Fetch, commit to the branch, audit and publish one chunk.

        Args:
            window: the chunk's window.
            selection, slices: its rows, counted by partition.
            marker: the commit's marker, if as many rows are fetched as were counted.
            on_fewer_rows: called if fewer rows were fetched than counted; raises if that is an error.

        Raises:
            AuditFailed, StartOver, CommitStateUnknown, ClickHouseUnavailable, CatalogUnavailable, FixColumn
        """
        plan = self._plan(window, selection, slices)
        files, counted = self._fetch(plan)
        reach(Failpoint.AFTER_FILES)
        are_referenced = False  # whether a commit may refer to the files, which then must not be deleted
        try:
            self._require_same_source(marker)
            if sum(part.rows for part in counted) < sum(part.rows for part in plan.slices):
                on_fewer_rows()
            if not files:
                log.info("The rows were gone before they could be fetched.")
                return Published(marker, 0, None, None)
            marker = self._final_marker(marker, counted)
            self._audit_files(files, window)
            self._branch.create()
            are_referenced = plan.keeps_files
            added = plan.commit(files, marker)
            reach(Failpoint.AFTER_BRANCH_COMMIT)
            published = self._publish(added, marker)
        except CommitStateUnknown:
            raise
        except OffloadError:
            self._discard([] if are_referenced else files)
            raise
        if not plan.keeps_files:
            self._files.delete(file.location for file in files)
        reach(Failpoint.AFTER_PUBLISH)
        return published

    @abstractmethod
    def _plan(self, window: Window, selection: Selection, slices: Sequence[Slice]) -> Plan:
        """Decide how this chunk is committed."""

    def _require_same_source(self, marker: Marker) -> None:
        """Require that the files came from the table that the attempt has planned for.

        Rows that were inserted after an ALTER hold values that the projection does not select yet. A fetch that saw
        such a row has ended by now, so this check sees the ALTER.
        """
        described = self._source.describe()
        columns = project(self._table, described.columns)
        if described.uuid != marker.source_uuid or columns != self._context.columns:
            raise StartOver(
                f"The columns of {self._table.source} changed, or the table was replaced, while its rows were fetched.",
                "Nothing was published; the next attempt plans with the table as it is now.",
            )

    @abstractmethod
    def _audit_files(self, files: Sequence[DataFile], window: Window) -> None:
        """Check that every file's timestamps lie inside its partition and the window."""

    def _publish(self, added: int | None, marker: Marker) -> Published:
        if added == 0 or (added is None and not self._branch.has_moved()):
            self._branch.drop()
            return Published(marker, 0, None, None)
        self._branch.audit(marker, added, self._commits_before)
        reach(Failpoint.AFTER_AUDIT)
        return Published(marker, self._new_rows(added, marker), *self._branch.publish(marker))

    def _final_marker(self, marker: Marker, counted: Sequence[Slice]) -> Marker:
        """The marker for the rows that were fetched."""
        return replace(marker, rows=sum(part.rows for part in counted), cursor=max(part.last for part in counted))

    def _new_rows(self, added: int | None, marker: Marker) -> int:
        """How many of the chunk's rows are new in Iceberg."""
        return marker.rows if added is None else added

    def _fetch(self, plan: Plan) -> tuple[list[DataFile], Sequence[Slice]]:
        """Fetch a plan's rows until the files hold as many as ClickHouse counts; returns the files and that count.

        Rows that arrive between counting and fetching make the two differ once; then a second count settles it.
        """
        slices = plan.slices
        self._context.fetch.choose(sum(part.rows for part in slices))
        for _ in range(_MAX_FETCHES):
            requests = self._source.plan_files(plan.selection, slices, self._context.settings.rows_per_file)
            files = self._context.fetch.fetch(requests, self._context.columns)
            fetched = sum(file.rows for file in files)
            for _ in ("counted before", "counted after"):
                counted = sum(part.rows for part in slices)
                if fetched == counted:
                    return files, slices
                slices = self._source.slices(plan.selection)
            self._files.delete(file.location for file in files)
        raise AuditFailed(
            f"ClickHouse counts {counted} rows of {self._table.source} in the window but sent {fetched}.",
            "Nothing was published. If rows keep arriving this late, raise `buffer_minutes`.",
        )

    def _require_inside(self, files: Sequence[DataFile], lower: datetime | None, upper: datetime) -> None:
        for file in files:
            end = min(upper, self._table.partition.next(file.start) - MICROSECOND)
            if file.first < max(file.start, lower or file.start) or file.last > end:
                raise AuditFailed(
                    f"{file.location} holds timestamps from {file.first.isoformat(sep=' ')} "
                    f"to {file.last.isoformat(sep=' ')}, outside its partition or the window.",
                    "Nothing was published; the next attempt fetches the window again.",
                )

    def _discard(self, files: Sequence[DataFile]) -> None:
        """Clean up after a failed attempt. Files that a commit may refer to are left to maintenance."""
        try:
            self._branch.drop()
            self._files.delete(file.location for file in files)
        except OffloadError as error:
            log.warning("The cleanup after the failed attempt failed; the next attempt drops its branch: %s", error)

    def _comparison(self, *, of_main: bool = False) -> RowComparison:
        """A comparison with the rows of this attempt's branch, or of `main`."""
        catalog = self._context.catalog
        branch = None if of_main else self._branch.name
        return RowComparison(start_session(catalog), catalog.name, self._table, branch, self._context.columns)
