"""An interval behind the watermark, once more: insert what Iceberg lacks, or replace it by what ClickHouse holds now.

The watermark stays where it is. Nothing that TTL already took from ClickHouse is deleted from Iceberg.
"""

from __future__ import annotations

import logging
import time

from offload_core.errors import RepairInstead, RestateInterval
from offload_core.ledger.ledger import LedgerRow
from offload_core.protocol.plan import RunMode
from offload_core.protocol.window import Cursor, Interval, Window
from offload_core.source.queries import bind_time, done_condition, done_parameters, http_placeholder, source_column
from offload_spark.fetch.clickhouse_source import Selection
from offload_spark.job.chunks import chunk_end
from offload_spark.job.reprocess_writer import RepairWriter, RestateWriter
from offload_spark.job.run_context import RunContext

log = logging.getLogger("offload")


def rework(run: RunContext, watermark: LedgerRow, interval: Interval) -> tuple[int, LedgerRow]:
    """Repair or, if the run's mode says so, restate an interval.

    Returns:
        How many rows were published, and the newest ledger row.

    Raises:
        RestateInterval: ClickHouse's missing rows are inserted, but Iceberg holds others that ClickHouse holds differently or not at all.
        RepairInstead: restating would delete rows that ClickHouse no longer holds.
        FixConfiguration: the table has no keys to tell what is missing.
    """
    work = _restate if run.arguments.mode is RunMode.RESTATE else _repair
    return work(run, watermark, interval)


def _repair(run: RunContext, watermark: LedgerRow, interval: Interval) -> tuple[int, LedgerRow]:
    writer = RepairWriter(run, watermark.cursor, interval)
    everything = _selection(run, watermark.cursor, interval)
    rest: Selection | None = everything
    mended = 0
    while rest is not None:
        started = time.monotonic()
        selection, rest = _first_chunk(run, rest)
        slices = run.source.slices(selection)
        if not slices:
            break
        window = Window(Cursor(interval.start), interval.last)
        marker = run.marker(watermark, "repair", window, watermark.cursor, slices)
        published = writer.write(window, selection, slices, marker)
        if published.snapshot_id is not None:
            watermark = run.record(watermark, published, time.monotonic() - started)
            mended += published.rows
    log.info("Rows repaired in %s: %d", interval, mended)
    _require_same(run, writer, everything, interval)
    return mended, watermark


def _require_same(run: RunContext, writer: RepairWriter, selection: Selection, interval: Interval) -> None:
    """See that inserting was enough.

    Raises:
        RestateInterval
    """
    problems = [f"{writer.changed} rows with other values than ClickHouse"] if writer.changed else []
    since = run.source.holds_all_since(run.described)
    if since is not None:
        timestamp = source_column(run.table, run.table.timestamp_col)
        sure = selection.narrowed(f"{timestamp} >= {bind_time('sure_since', http_placeholder)}", sure_since=since)
        # Iceberg first: a row that comes late in between must not look like one too many.
        surplus = writer.held_since(since) - sum(part.rows for part in run.source.slices(sure))
        problems += [f"{surplus} rows more than ClickHouse"] if surplus > 0 else []
    if problems:
        raise RestateInterval(
            f"Iceberg's {run.table.name} holds in {interval} {' and '.join(problems)}.",
            f"What was missing is inserted. To replace the interval by what ClickHouse holds now, run `offload restate {run.table.name} "
            f"--from {interval.start.isoformat()} --to {interval.end.isoformat()}`.",
        )


def _restate(run: RunContext, watermark: LedgerRow, interval: Interval) -> tuple[int, LedgerRow]:
    started = time.monotonic()
    selection = _selection(run, watermark.cursor, interval)
    slices = run.source.slices(selection)
    _require_all_of(run, interval, bool(slices))
    if not slices:
        log.info("Neither ClickHouse nor Iceberg holds a row in %s", interval)
        return 0, watermark
    window = Window(Cursor(interval.start), interval.last)
    marker = run.marker(watermark, "restate", window, watermark.cursor, slices)
    writer = RestateWriter(run, watermark.cursor, interval)
    published = writer.write(
        window,
        selection,
        slices,
        marker,
        if_fewer=lambda: _require_all_of(run, interval, bool(run.source.slices(selection))),
    )
    watermark = run.record(watermark, published, time.monotonic() - started)
    log.info("Restated %s: %d rows", interval, published.rows)
    return published.rows, watermark


def _require_all_of(run: RunContext, interval: Interval, holds_rows: bool) -> None:
    """See that ClickHouse still holds whatever of the interval is in Iceberg.

    Raises:
        RepairInstead
    """
    since = run.source.holds_all_since(run.described)
    lost_until = interval.end if since is None or not holds_rows else min(since, interval.end)
    if interval.start < lost_until and run.iceberg.may_hold_rows_between(interval.start, lost_until):
        what = "holds no row of it" if not holds_rows else f"may have lost rows from before {since} to its TTL"
        raise RepairInstead(
            f"{run.table.name} can't be restated in {interval}: ClickHouse {what}, and Iceberg's would be deleted.",
            "Restate only a later interval, or use `offload repair`, which only inserts what is missing.",
        )


def _selection(run: RunContext, watermark: Cursor, interval: Interval) -> Selection:
    return Selection(
        done_condition(run.table, interval, http_placeholder, from_start=False),
        done_parameters(None, watermark, interval),
    )


def _first_chunk(run: RunContext, selection: Selection) -> tuple[Selection, Selection | None]:
    """As much of a selection's beginning as one commit may hold, and what is left of it."""
    slices = run.source.slices(selection)
    run.fetching.expect(sum(part.rows for part in slices))
    end = chunk_end(run.source, run.table, selection, slices, run.settings.max_rows_per_commit)
    if end is None:
        return selection, None
    timestamp, bound = source_column(run.table, run.table.timestamp_col), bind_time("chunk_end", http_placeholder)
    # Each rest is narrowed anew, by a name of its own.
    number = sum(name.startswith("chunk_after") for name in selection.parameters)
    after = bind_time(f"chunk_after_{number}", http_placeholder)
    return (
        selection.narrowed(f"{timestamp} <= {bound}", chunk_end=end),
        selection.narrowed(f"{timestamp} > {after}", **{f"chunk_after_{number}": end}),
    )
