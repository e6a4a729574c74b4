"""Moves the rows ahead of the watermark, chunk by chunk."""

from __future__ import annotations

import logging
import time
from datetime import datetime
from functools import partial

from offload_core.config.tables import WriteMode
from offload_core.errors import HotRowsExpired
from offload_core.failpoints import Failpoint, reach
from offload_core.ledger.rows import LedgerRow, Step, StepKind
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
        watermark: the ledger row to start from; its cursor is the window's lower end.
        window: the rows to move.
        is_rerun: True for a run that has been re-run; it does not restart the lag clock if it finds no new rows.

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
        marker = run.marker(watermark, StepKind.INCREMENT, chunk, max(part.last for part in slices), slices)
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
        run_id, attempt = run.arguments.run_id, run.arguments.attempt
        step = Step.empty(watermark, window, source_uuid=run.described.uuid, run_id=run_id, attempt=attempt)
        watermark = run.ledger.append(watermark, step)
    return moved, watermark


def _next_chunk(run: RunContext, window: Window) -> tuple[Window, Selection, list[Slice]]:
    """The window, or as much of its beginning as one commit may hold, with its rows counted by partition."""
    selection = _selection(run, window)
    slices = run.source.slices(selection)
    run.fetch.choose(sum(part.rows for part in slices))
    end = chunk_end(run.source, run.table, selection, slices, run.settings.max_rows_per_commit)
    if end is None or end >= window.upper:
        return window, selection, slices
    chunk = Window(window.lower, end)
    selection = _selection(run, chunk)
    return chunk, selection, run.source.slices(selection)


def _selection(run: RunContext, window: Window) -> Selection:
    return Selection(window_condition(run.table), window_parameters(window))


def _writer(run: RunContext) -> ChunkWriter:
    return UpsertWriter(run) if run.table.write_mode is WriteMode.UPSERT else AppendWriter(run)


def _require_no_gap(run: RunContext, seen: datetime | None) -> None:
    """Require that TTL has not removed rows that no run has seen yet.

    Every run has seen all rows up to its window's end, so only rows after the last window can be lost. An operator's
    watermark determines what to read, not what was seen.

    Raises:
        HotRowsExpired: TTL may have removed such rows.
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
        _expired_remedy(run),
    )


def _require_none_expired(run: RunContext, seen: datetime | None, selection: Selection, slices: list[Slice]) -> None:
    """Require that TTL has not removed rows after they were counted and before they were fetched.

    Raises:
        HotRowsExpired: it has.
    """
    if seen is None or run.described.ttl is None:
        return
    floor = run.source.expires_before(run.described.ttl)
    gone = sum(part.rows for part in slices) - sum(part.rows for part in run.source.slices(selection))
    if gone > 0 and max(seen, slices[0].first) < floor:
        raise HotRowsExpired(
            f"ClickHouse's TTL removed {gone} rows of {run.table.source} "
            f"between {slices[0].first.isoformat(sep=' ')} and {floor.isoformat(sep=' ')} "
            "while they were being offloaded.",
            _expired_remedy(run),
        )


def _expired_remedy(run: RunContext) -> str:
    return (
        "Restore them in ClickHouse if there is a copy. Then, or to accept the loss, "
        f"run `offload resume {run.table.name}`."
    )


def _estimate(run: RunContext, start: datetime, end: datetime) -> str:
    """Estimates how many rows a span holds, from the rate of the last windows."""
    rows, seconds = 0, 0.0
    for row in run.ledger.history(run.table.name, 200):
        if row.kind is StepKind.INCREMENT and row.window_lower and row.window_upper and row.row_count:
            rows += row.row_count
            seconds += (row.window_upper - row.window_lower).total_seconds()
    if seconds <= 0:
        return "an unknown number of rows"
    return f"about {round(rows / seconds * (end - start).total_seconds()):,} rows at the usual rate"
