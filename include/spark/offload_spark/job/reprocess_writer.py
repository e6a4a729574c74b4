"""Writers of commits behind the watermark. Both compare rows, so both need a SparkSession."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from offload_core.config.tables import WriteMode
from offload_core.errors import AuditFailed, FixConfiguration
from offload_core.protocol.marker import Marker
from offload_core.protocol.window import Cursor, Interval, Window
from offload_spark.fetch.clickhouse_source import Selection, Slice
from offload_spark.iceberg.table import DataFile
from offload_spark.job.run_context import RunContext
from offload_spark.write.merge import held_condition
from offload_spark.write.writer import ChunkWriter, Plan


class ReworkWriter(ChunkWriter):
    """What both have in common: the rows lie up to the watermark, which stays where it is."""

    def __init__(self, run: RunContext, watermark: Cursor, interval: Interval) -> None:
        super().__init__(
            run.source, run.iceberg, run.fetching, run.columns, run.table, run.settings, run.connections.iceberg
        )
        self._watermark = watermark
        self._interval = interval

    def _audit_files(self, files: Sequence[DataFile], window: Window) -> None:  # noqa: ARG002 - candles may begin before it
        self._require_inside(files, None, self._watermark.timestamp)

    def _corrected(self, marker: Marker, counted: Sequence[Slice]) -> Marker:
        return marker.with_rows(sum(part.rows for part in counted))


class RepairWriter(ReworkWriter):
    """Inserts what is missing by key; candles that changed are updated.

    Attributes:
        changed: rows of tables that only ever append whose values differ from ClickHouse's; inserting can't mend them.
    """

    def __init__(self, run: RunContext, watermark: Cursor, interval: Interval) -> None:
        super().__init__(run, watermark, interval)
        self.changed = 0
        self._mended = 0

    def held_since(self, start: datetime) -> int:
        """How many rows of the interval with timestamps from `start` (UTC) on `main` holds."""
        held = held_condition(self._table, self._columns, self._watermark, self._interval, start)
        return self._comparison(of_main=True).count(held)

    def _plan(self, window: Window, selection: Selection, slices: Sequence[Slice]) -> Plan:  # noqa: ARG002 - the selection says it
        if not self._table.keys:
            raise FixConfiguration(
                f"{self._table.name} can't be repaired: without `keys` nobody can tell which rows are missing.",
                "Add the columns that identify a row as `keys` to the table's entry.",
            )
        return Plan(selection, slices, self._mend, keeps_files=False)

    def _mend(self, files: Sequence[DataFile], marker: Marker) -> int | None:
        comparison = self._comparison()
        first, last = min(file.first for file in files), max(file.last for file in files)
        changed = comparison.changed(files, self._columns, first, last)
        if self._table.write_mode is WriteMode.APPEND:
            self.changed += changed
            self._mended = comparison.insert_missing(files, first, last, marker)
            return self._mended
        self._mended = changed + comparison.missing(files, first, last)
        if self._mended:
            comparison.merge(files, marker)
        return None

    def _new_rows(self, added: int | None, marker: Marker) -> int:  # noqa: ARG002 - a merge adds whole files again
        return self._mended


class RestateWriter(ReworkWriter):
    """Replaces the interval: its rows are deleted on the branch and the fetched files added, and both are published at once."""

    _commits_before = 1

    def _plan(self, window: Window, selection: Selection, slices: Sequence[Slice]) -> Plan:  # noqa: ARG002 - the selection says it
        return Plan(selection, slices, self._replace, keeps_files=True)

    def _replace(self, files: Sequence[DataFile], marker: Marker) -> int:
        comparison = self._comparison()
        held = held_condition(self._table, self._columns, self._watermark, self._interval)
        if self._iceberg.has_branch():
            comparison.delete(held)
        self._iceberg.append(files, marker)
        rows = sum(file.rows for file in files)
        found = comparison.count(held)
        if found != rows:
            raise AuditFailed(
                f"The branch of {self._table.name} holds {found} rows in {self._interval} after restating it, ClickHouse sent {rows}.",
                "Nothing was published; the next attempt starts over.",
            )
        return rows
