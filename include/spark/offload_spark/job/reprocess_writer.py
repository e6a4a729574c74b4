"""Writers of commits behind the watermark. All of them compare rows, so they need a SparkSession."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from offload_core.config.tables import WriteMode
from offload_core.errors import AuditFailed, FixConfiguration
from offload_core.protocol.marker import Marker
from offload_core.protocol.window import Cursor, Interval, Window
from offload_spark.fetch.clickhouse_source import Selection, Slice
from offload_spark.iceberg.data_files import DataFile
from offload_spark.job.run_context import RunContext
from offload_spark.write.merge import cold_condition
from offload_spark.write.writer import ChunkWriter, Plan


class ReprocessWriter(ChunkWriter):
    """Writes rows up to the watermark, which stays where it is."""

    def __init__(self, run: RunContext, watermark: Cursor, interval: Interval) -> None:
        super().__init__(run)
        self._watermark = watermark
        self._interval = interval

    def _audit_files(self, files: Sequence[DataFile], window: Window) -> None:  # noqa: ARG002 - candles may begin before the window
        self._require_inside(files, None, self._watermark.timestamp)

    def _final_marker(self, marker: Marker, counted: Sequence[Slice]) -> Marker:
        return marker.with_rows(sum(part.rows for part in counted))


class RepairWriter(ReprocessWriter):
    """Inserts missing rows by key, and updates candles that changed.

    Attributes:
        changed: rows of append-only tables that differ from ClickHouse's; a repair cannot correct them.
    """

    def __init__(self, run: RunContext, watermark: Cursor, interval: Interval) -> None:
        super().__init__(run, watermark, interval)
        self.changed = 0
        self._repaired = 0

    def rows_since(self, start: datetime) -> int:
        """How many of the interval's rows with timestamps from `start` (UTC, inclusive) `main` holds."""
        condition = cold_condition(self._table, self._context.columns, self._watermark, self._interval, start)
        return self._comparison(of_main=True).count(condition)

    def _plan(self, window: Window, selection: Selection, slices: Sequence[Slice]) -> Plan:  # noqa: ARG002 - the selection has its bounds
        if not self._table.keys:
            raise FixConfiguration(
                f"{self._table.name} can't be repaired: without `keys`, missing rows cannot be found.",
                "Add the columns that identify a row as `keys` to the table's entry.",
            )
        return Plan(selection, slices, self._repair, keeps_files=False)

    def _repair(self, files: Sequence[DataFile], marker: Marker) -> int | None:
        comparison = self._comparison()
        first, last = min(file.first for file in files), max(file.last for file in files)
        changed = comparison.changed(files, first, last)
        if self._table.write_mode is WriteMode.APPEND:
            self.changed += changed
            self._repaired = comparison.insert_missing(files, first, last, marker)
            return self._repaired
        self._repaired = changed + comparison.missing(files, first, last)
        if self._repaired:
            comparison.merge(files, marker)
        return None

    def _new_rows(self, added: int | None, marker: Marker) -> int:  # noqa: ARG002 - a merge adds whole files again
        return self._repaired


class RestateWriter(ReprocessWriter):
    """Replaces the interval: deletes its rows on the branch, adds the fetched files, and publishes both at once."""

    _commits_before = 1

    def _plan(self, window: Window, selection: Selection, slices: Sequence[Slice]) -> Plan:  # noqa: ARG002 - the selection has its bounds
        return Plan(selection, slices, self._replace, keeps_files=True)

    def _replace(self, files: Sequence[DataFile], marker: Marker) -> int:
        comparison = self._comparison()
        condition = cold_condition(self._table, self._context.columns, self._watermark, self._interval)
        if self._branch.exists():
            comparison.delete(condition)
        self._branch.append(files, marker)
        rows = sum(file.rows for file in files)
        found = comparison.count(condition)
        if found != rows:
            raise AuditFailed(
                f"The branch of {self._table.name} holds {found} rows in {self._interval} after restating it, "
                f"but ClickHouse sent {rows}.",
                "Nothing was published; the next attempt starts over.",
            )
        return rows
