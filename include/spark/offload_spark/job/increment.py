"""What lies ahead of the watermark: steps three to eight of a run, chunk by chunk."""

from __future__ import annotations

import logging
import time
from datetime import datetime
from functools import partial

from offload_core.errors import HotRowsExpired
from offload_core.failpoints import Failpoint, reach
from offload_core.ledger.ledger import LedgerRow, Step
from offload_core.protocol.marker import INCREMENT
from offload_core.protocol.window import Window
from offload_core.source.queries import window_condition, window_parameters
from offload_spark.fetch.clickhouse_source import Selection, Slice
from offload_spark.job.chunks import chunk_end
from offload_spark.job.run_context import RunContext
from offload_spark.write.increment_writer import AppendWriter, UpsertWriter
from offload_spark.write.writer import ChunkWriter

log = logging.getLogger("offload")


def move(run: RunContext, watermark: LedgerRow, window: Window, *, is_rerun: bool) -> tuple[int, LedgerRow]:
    """Move all rows of a window.

    Args:
        run: the run.
        watermark: the ledger row to start from; it is the window's lower end.
        window: the rows to move.
        is_rerun: True for a run that comes again; that it finds nothing new is then no reason to restart the lag clock.

    Returns:
        How many rows were published (for candles: new closed ones), and the newest ledger row.

    Raises:
        HotRowsExpired, AuditFailed, StartOver, CommitStateUnknown, RetryLater
    """
    seen = run.ledger.read_until(run.table.name)
    _require_no_gap(run, seen)
    writer = _writer(run)
    moved, chunks = 0, 0
    while True:
        started = time.monotonic()
        chunk, selection, slices = _next_chunk(run, window)
        if not slices:
            break
        reach(Failpoint.BEFORE_READ)
        marker = run.marker(watermark, INCREMENT, chunk, max(part.last for part in slices), slices)
        require_none_expired = partial(_require_none_expired, run, seen, selection, slices)
        published = writer.write(chunk, selection, slices, marker, require_none_expired)
        seconds = time.monotonic() - started
        watermark = run.record(watermark, published, seconds)
        moved, chunks = moved + published.rows, chunks + 1
        log.info("Rows offloaded: %d up to %s in %.2f seconds", published.rows, watermark.cursor, seconds)
        if chunk.upper >= window.upper:
            return moved, watermark
        window = Window(watermark.cursor, window.upper)
    if chunks == 0:
        log.info("No new data to offload")
    if chunks == 0 and not is_rerun:
        watermark = run.ledger.append(watermark, _empty_step(run, watermark, window))
    return moved, watermark


def _next_chunk(run: RunContext, window: Window) -> tuple[Window, Selection, list[Slice]]:
    """The window, or as much of its beginning as one commit may hold, with its rows by partition."""
    selection = _selection(run, window)
    slices = run.source.slices(selection)
    run.fetching.expect(sum(part.rows for part in slices))
    end = chunk_end(run.source, run.table, selection, slices, run.settings.max_rows_per_commit)
    if end is None or end >= window.upper:
        return window, selection, slices
    chunk = Window(window.lower, end)
    selection = _selection(run, chunk)
    return chunk, selection, run.source.slices(selection)


def _selection(run: RunContext, window: Window) -> Selection:
    return Selection(window_condition(run.table), window_parameters(window))


def _writer(run: RunContext) -> ChunkWriter:
    kind = UpsertWriter if run.table.write_mode == "upsert" else AppendWriter
    return kind(run.source, run.iceberg, run.fetching, run.columns, run.table, run.settings, run.connections.iceberg)


def _require_no_gap(run: RunContext, seen: datetime | None) -> None:
    """TTL must not have removed rows that no run has seen yet.

    Every run has seen all rows up to its window's end, so only what lies after the last window can be lost; an operator's
    watermark says what to read, not what was seen.

    Raises:
        HotRowsExpired
    """
    if seen is None or run.described.ttl is None:
        return
    floor = run.source.expires_before(run.described.ttl)
    oldest = run.source.oldest_time()
    if seen >= floor or (oldest is not None and oldest <= seen):
        return
    end = oldest or floor
    raise HotRowsExpired(
        f"ClickHouse's TTL may have removed rows of {run.table.source} "
        f"between {seen.isoformat(sep=' ')} and {end.isoformat(sep=' ')} "
        f"({_estimate(run, seen, end)}) before they were offloaded.",
        f"Restore them in ClickHouse if there is a copy; then, or to accept the loss, run `offload resume {run.table.name}`.",
    )


def _require_none_expired(run: RunContext, seen: datetime | None, selection: Selection, slices: list[Slice]) -> None:
    """Rows that were there when they were counted must not have been taken by TTL before they were fetched.

    Raises:
        HotRowsExpired
    """
    if seen is None or run.described.ttl is None:
        return
    floor = run.source.expires_before(run.described.ttl)
    gone = sum(part.rows for part in slices) - sum(part.rows for part in run.source.slices(selection))
    if gone > 0 and max(seen, slices[0].first) < floor:
        raise HotRowsExpired(
            f"ClickHouse's TTL removed {gone} rows of {run.table.source} between {slices[0].first.isoformat(sep=' ')} "
            f"and {floor.isoformat(sep=' ')} while they were being offloaded.",
            f"Restore them in ClickHouse if there is a copy; then, or to accept the loss, run `offload resume {run.table.name}`.",
        )


def _estimate(run: RunContext, start: datetime, end: datetime) -> str:
    """About how many rows a span holds, from the rate of the last windows."""
    rows, seconds = 0, 0.0
    for row in run.ledger.history(run.table.name, 200):
        if row.kind == INCREMENT and row.window_lower and row.window_upper and row.row_count:
            rows += row.row_count
            seconds += (row.window_upper - row.window_lower).total_seconds()
    if seconds <= 0:
        return "how many can't be told"
    return f"about {round(rows / seconds * (end - start).total_seconds()):,} rows at the usual rate"


def _empty_step(run: RunContext, watermark: LedgerRow, window: Window) -> Step:
    return Step(
        kind="empty",
        cursor=watermark.cursor,
        generation=watermark.generation,
        source_uuid=run.described.uuid,
        run_id=run.arguments.run_id,
        attempt=run.arguments.attempt,
        window=window,
    )
