"""One run of one table: the eight steps of the offload, in order.

lock → reconcile → window → count → fetch → branch and audit → publish → ledger; a large window repeats the last five, chunk by chunk.
"""

from __future__ import annotations

import logging
import time
import uuid
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

from offload_core.clickhouse import ClickHouse
from offload_core.connections import Connections
from offload_core.errors import ColdRowsLost, HotRowsExpired, LedgerAhead, OffloadError, SourceReplaced, WaitForOtherRun
from offload_core.failpoints import Failpoint, reach
from offload_core.job_arguments import JobArguments
from offload_core.ledger import Ledger, LedgerRow, Step
from offload_core.ledger_session import connect
from offload_core.marker import Marker
from offload_core.projection import Column, project
from offload_core.reconcile import require_agreement, unrecorded_commit
from offload_core.source_query import window_condition, window_parameters
from offload_core.source_table import SourceTable
from offload_core.window import Window, plan_window
from offload_spark.chunks import chunk_end
from offload_spark.clickhouse_source import ClickHouseSource, Selection, Slice
from offload_spark.iceberg_catalog import open_catalog
from offload_spark.iceberg_table import IcebergTable
from offload_spark.jvm import attach
from offload_spark.writer import AppendWriter, ChunkWriter, Published, UpsertWriter

log = logging.getLogger("offload")

NEW_HALTS = (SourceReplaced, LedgerAhead, ColdRowsLost, HotRowsExpired)


@dataclass(frozen=True)
class Result:
    """What a run did: rows published (for candles: new closed ones) and the watermark it ended with."""

    rows: int
    watermark: LedgerRow


def run(arguments: JobArguments, connections: Connections) -> Result:
    """Offload one table's window, under its lock; a failure is recorded in the ledger before it is raised.

    Raises:
        OffloadError: one of its subclasses; each says what to do next.
    """
    table, settings = arguments.table, arguments.settings
    started = time.monotonic()
    name = f"offload {table.name} {arguments.run_id} try {arguments.attempt}"
    with closing(connect(connections.postgres, name)) as session:
        ledger = Ledger(session, settings.pipeline_id)
        try:
            with ledger.locked(table.name, settings.lock_wait_seconds):
                result = Offload(arguments, connections, ledger).run()
        except WaitForOtherRun:
            raise
        except Exception as error:
            _record(ledger, arguments, error)
            raise
    log.info("Duration: %.1f seconds", time.monotonic() - started)
    return result


def _record(ledger: Ledger, arguments: JobArguments, error: Exception) -> None:
    try:
        ledger.record_failure(
            arguments.table.name,
            error.kind if isinstance(error, OffloadError) else OffloadError.kind,
            str(error) or type(error).__name__,
            run_id=arguments.run_id,
            attempt=arguments.attempt,
            halt=isinstance(error, NEW_HALTS),
        )
    except OffloadError as second:
        # The first error is what the operator needs; that it could not be recorded is said beside it.
        log.warning("The failure could not be recorded in the ledger: %s", second)


class Offload:
    """The steps of one run that happen under the table's lock."""

    def __init__(self, arguments: JobArguments, connections: Connections, ledger: Ledger) -> None:
        self._arguments = arguments
        self._table = arguments.table
        self._settings = arguments.settings
        self._connections = connections
        self._ledger = ledger

    def run(self) -> Result:
        """Reconcile, then move everything the window holds."""
        watermark = self._ledger.watermark(self._table.name)
        client = ClickHouse(
            self._connections.clickhouse,
            timeout_seconds=self._settings.clickhouse_timeout_seconds,
            settings=self._settings.clickhouse_settings,
            pool_size=self._settings.fetch_parallelism + 1,
        )
        with closing(client):
            source = ClickHouseSource(client, self._table, self._connections.clickhouse.database)
            described = source.describe()
            columns = project(self._table, described.columns)
            jvm = attach()
            catalog = open_catalog(jvm, self._connections.iceberg)
            with closing(catalog):
                attempt_id = uuid.uuid4().hex
                iceberg = IcebergTable(jvm, catalog, self._table, attempt_id)
                iceberg.require_columns(columns)
                watermark = self._reconcile(iceberg, watermark, described)
                return self._move(source, described, columns, iceberg, watermark, attempt_id)

    def _reconcile(self, iceberg: IcebergTable, watermark: LedgerRow, described: SourceTable) -> LedgerRow:
        cold = iceberg.cold_state(self._settings.pipeline_id)
        name = self._table.name
        last_commit, operator_row = self._ledger.last_commit(name), self._ledger.operator_row(name)
        marker = unrecorded_commit(watermark, last_commit, operator_row, cold)
        if marker is not None:
            log.info(
                "Recovered: snapshot %s of an earlier run was not in the ledger; watermark %s",
                cold.snapshot_id,
                marker.cursor,
            )
            step = Step(
                kind="recovered",
                cursor=marker.cursor,
                generation=marker.generation,
                source_uuid=marker.source_uuid,
                run_id=marker.run_id,
                attempt=marker.attempt,
                window=marker.window,
                rows=marker.rows,
                snapshot_id=cold.snapshot_id,
                total_records=cold.records_at_marker,
            )
            watermark = last_commit = self._ledger.append(watermark, step)
        require_agreement(watermark, last_commit, cold, described.uuid)
        return watermark

    def _move(
        self,
        source: ClickHouseSource,
        described: SourceTable,
        columns: list[Column],
        iceberg: IcebergTable,
        watermark: LedgerRow,
        attempt_id: str,
    ) -> Result:
        buffer = timedelta(minutes=self._settings.buffer_minutes)
        window = plan_window(watermark.cursor, described.now, self._arguments.interval_end, buffer)
        log.info("watermark %s, window %s", watermark.cursor, window)
        if window.is_behind:
            log.info("The interval ends before the watermark: its rows are offloaded already.")
            return Result(0, watermark)
        self._require_no_gap(source, described, watermark)
        writer = self._writer(source, iceberg, columns)
        moved, chunks = 0, 0
        while True:
            chunk_started = time.monotonic()
            chunk, selection, slices = self._next_chunk(source, window)
            if not slices:
                break
            reach(Failpoint.BEFORE_READ)
            marker = self._marker(watermark, described, chunk, slices, attempt_id)
            published = writer.write(chunk, selection, slices, marker)
            seconds = time.monotonic() - chunk_started
            watermark = self._ledger.append(watermark, self._step(watermark, published, seconds))
            moved, chunks = moved + published.rows, chunks + 1
            log.info("Rows offloaded: %d up to %s in %.2f seconds", published.rows, watermark.cursor, seconds)
            if chunk.upper >= window.upper:
                return Result(moved, watermark)
            window = Window(watermark.cursor, window.upper)
        if chunks == 0:
            log.info("No new data to offload")
            watermark = self._ledger.append(watermark, self._empty_step(watermark, described, window))
        return Result(moved, watermark)

    def _next_chunk(self, source: ClickHouseSource, window: Window) -> tuple[Window, Selection, list[Slice]]:
        """The window, or as much of its beginning as one commit may hold, with its rows by partition."""
        selection = self._selection(window)
        slices = source.slices(selection)
        end = chunk_end(source, self._table, selection, slices, self._settings.max_rows_per_commit)
        if end is None or end >= window.upper:
            return window, selection, slices
        chunk = Window(window.lower, end)
        selection = self._selection(chunk)
        return chunk, selection, source.slices(selection)

    def _selection(self, window: Window) -> Selection:
        return Selection(window_condition(self._table), window_parameters(window))

    def _writer(self, source: ClickHouseSource, iceberg: IcebergTable, columns: list[Column]) -> ChunkWriter:
        kind = UpsertWriter if self._table.write_mode == "upsert" else AppendWriter
        return kind(source, iceberg, columns, self._table, self._settings, self._connections.iceberg)

    def _require_no_gap(self, source: ClickHouseSource, described: SourceTable, watermark: LedgerRow) -> None:
        """TTL must not have removed rows that no run has seen yet.

        Every run has seen all rows up to its window's end, so only what lies after the last window can be lost; an operator's
        watermark says what to read, not what was seen.

        Raises:
            HotRowsExpired
        """
        seen = watermark.window_upper
        if seen is None or described.ttl is None:
            return
        floor = source.expires_before(described.ttl)
        oldest = source.oldest_time()
        if seen >= floor or (oldest is not None and oldest <= seen):
            return
        end = oldest or floor
        raise HotRowsExpired(
            f"ClickHouse's TTL may have removed rows of {self._table.source} "
            f"between {seen.isoformat(sep=' ')} and {end.isoformat(sep=' ')} "
            f"({self._estimate(seen, end)}) before they were offloaded.",
            f"Restore them in ClickHouse if there is a copy; then, or to accept the loss, run `offload resume {self._table.name}`.",
        )

    def _estimate(self, start: datetime, end: datetime) -> str:
        """About how many rows a span holds, from the rate of the last windows."""
        spans = [
            row
            for row in self._ledger.history(self._table.name, 200)
            if row.window_lower and row.window_upper and row.row_count
        ]
        seconds = sum(
            (row.window_upper - row.window_lower).total_seconds()
            for row in spans
            if row.window_upper and row.window_lower
        )
        if seconds <= 0:
            return "how many can't be told"
        return f"about {round(sum(row.row_count for row in spans) / seconds * (end - start).total_seconds()):,} rows at the usual rate"

    def _marker(
        self, watermark: LedgerRow, described: SourceTable, window: Window, slices: list[Slice], attempt_id: str
    ) -> Marker:
        return Marker(
            pipeline=self._settings.pipeline_id,
            source_uuid=described.uuid,
            generation=watermark.generation,
            window=window,
            cursor=max(part.last for part in slices),
            rows=sum(part.rows for part in slices),
            run_id=self._arguments.run_id,
            attempt=self._arguments.attempt,
            attempt_id=attempt_id,
            ledger_id=watermark.id,
        )

    def _step(self, watermark: LedgerRow, published: Published, seconds: float) -> Step:
        marker = published.marker
        return Step(
            kind="increment",
            cursor=marker.cursor,
            generation=watermark.generation,
            source_uuid=marker.source_uuid,
            run_id=marker.run_id,
            attempt=marker.attempt,
            window=marker.window,
            rows=published.rows,
            snapshot_id=published.snapshot_id,
            total_records=published.total_records,
            seconds=seconds,
        )

    def _empty_step(self, watermark: LedgerRow, described: SourceTable, window: Window) -> Step:
        return Step(
            kind="empty",
            cursor=watermark.cursor,
            generation=watermark.generation,
            source_uuid=described.uuid,
            run_id=self._arguments.run_id,
            attempt=self._arguments.attempt,
            window=window,
        )
