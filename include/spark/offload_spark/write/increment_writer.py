"""Writers for rows ahead of the watermark: one for append-only tables, one for tables whose rows may change."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from offload_core.errors import FixConfiguration
from offload_core.ledger.rows import StepKind
from offload_core.protocol.marker import Marker
from offload_core.protocol.window import MICROSECOND, Cursor, Window
from offload_core.source.queries import bind_time, format_time, http_placeholder, source_column
from offload_spark.fetch.clickhouse_source import Selection, Slice
from offload_spark.iceberg.data_files import DataFile
from offload_spark.write.writer import ChunkWriter, Plan

log = logging.getLogger("offload")


class AppendWriter(ChunkWriter):
    """Tables whose rows never change. The fetched files are committed, unless the window overlaps rows in Iceberg."""

    def _plan(self, window: Window, selection: Selection, slices: Sequence[Slice]) -> Plan:
        if not self._overlaps(window.lower):
            return Plan(selection, slices, self._append, keeps_files=True)
        if not self._table.keys:
            raise FixConfiguration(
                f"The window of {self._table.name} overlaps rows already in Iceberg. Without `keys`, "
                "missing rows cannot be found.",
                "Add the columns that identify a row as `keys` to the table's entry.",
            )
        log.info("The window overlaps rows already in Iceberg: only those that are missing will be inserted.")
        return Plan(selection, slices, self._insert_missing, keeps_files=False)

    def _overlaps(self, lower: Cursor) -> bool:
        """Whether Iceberg may hold rows past `lower`, by its metadata, which has timestamps but no sequence numbers.

        Rows at `lower`'s own timestamp may lie past it, because an operator's watermark may point between them. They do
        not if our newest commit ended exactly at `lower`.
        """
        if self._files.may_hold_rows_after(lower.timestamp):
            return True
        if not self._table.sequence_col or not self._files.may_hold_rows_between(
            lower.timestamp, lower.timestamp + MICROSECOND
        ):
            return False
        newest = self._context.iceberg.cold_state(self._context.settings.pipeline_id).marker
        return newest is None or newest.kind != StepKind.INCREMENT or newest.cursor != lower

    def _audit_files(self, files: Sequence[DataFile], window: Window) -> None:
        self._require_inside(files, window.lower.timestamp, window.upper)

    def _append(self, files: Sequence[DataFile], marker: Marker) -> int:
        self._branch.append(files, marker)
        return sum(file.rows for file in files)

    def _insert_missing(self, files: Sequence[DataFile], marker: Marker) -> int:
        first, last = min(file.first for file in files), max(file.last for file in files)
        missing = self._comparison().insert_missing(files, first, last, marker)
        log.info("%d of %d rows were missing in Iceberg", missing, sum(file.rows for file in files))
        return missing


class UpsertWriter(ChunkWriter):
    """Tables whose rows may change (candles). The partitions of the window and its lookback are read again.

    If ClickHouse still holds at least the rows that Iceberg has of each of these partitions up to the window's end, the
    partitions are replaced as a whole. If TTL has removed rows, the fetched rows are merged by key.
    """

    def _plan(self, window: Window, selection: Selection, slices: Sequence[Slice]) -> Plan:  # noqa: ARG002 - reads whole partitions
        timestamp = source_column(self._table, self._table.timestamp_col)
        closed = source_column(self._table, str(self._table.closed_col))
        lookback = timedelta(minutes=self._table.lookback_minutes)
        reread = Selection(
            f"{timestamp} >= {bind_time('again_from', http_placeholder)} "
            f"AND {timestamp} <= {bind_time('again_to', http_placeholder)} "
            f"AND {closed} <= {bind_time('upper', http_placeholder)}",
            {
                "again_from": format_time(self._table.partition.floor(slices[0].first - lookback)),
                "again_to": format_time(max(part.last for part in slices).timestamp),
                "upper": format_time(window.upper),
            },
        )
        reread_slices = self._source.slices(reread)
        replaceable = all(self._is_replaceable(reread, part) for part in reread_slices)
        return Plan(reread, reread_slices, self._replace if replaceable else self._merge, keeps_files=replaceable)

    def _is_replaceable(self, selection: Selection, part: Slice) -> bool:
        """Whether ClickHouse holds at least the rows that Iceberg has of a partition; TTL removes the oldest first."""
        extent = self._files.partition_extent(part.start)
        if extent.rows == 0:
            return True
        if not extent.exact or extent.first is None or extent.last is None or part.first > extent.first:
            return False
        if part.last.timestamp <= extent.last:
            return part.rows >= extent.rows
        timestamp = source_column(self._table, self._table.timestamp_col)
        inside = self._source.within_partition(selection, part.start)
        known = inside.narrow(f"{timestamp} <= {bind_time('known_to', http_placeholder)}", known_to=extent.last)
        return sum(known_part.rows for known_part in self._source.slices(known)) >= extent.rows

    def _audit_files(self, files: Sequence[DataFile], window: Window) -> None:
        self._require_inside(files, None, window.upper)

    def _final_marker(self, marker: Marker, counted: Sequence[Slice]) -> Marker:  # noqa: ARG002 - counts whole partitions
        return marker

    def _new_rows(self, added: int | None, marker: Marker) -> int:  # noqa: ARG002 - whole partitions were added
        return marker.rows

    def _replace(self, files: Sequence[DataFile], marker: Marker) -> int:
        self._branch.replace_partitions(files, marker)
        return sum(file.rows for file in files)

    def _merge(self, files: Sequence[DataFile], marker: Marker) -> None:
        log.info("ClickHouse no longer holds all of these partitions: merging by key.")
        self._comparison().merge(files, marker)
