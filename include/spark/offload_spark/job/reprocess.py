"""Reprocesses an interval behind the watermark: repair inserts missing rows, restate replaces the interval.

The watermark stays where it is. Rows that TTL has removed from ClickHouse are never deleted from Iceberg.
"""

from __future__ import annotations

import logging
import time

from offload_core.errors import RestateInterval
from offload_core.ledger.rows import LedgerRow, StepKind
from offload_core.protocol.plan import RunMode
from offload_core.protocol.restate import Restate
from offload_core.protocol.window import Cursor, Interval, Window
from offload_core.source.queries import bind_time, done_condition, done_parameters, http_placeholder, source_column
from offload_spark.fetch.clickhouse_source import Selection
from offload_spark.job.chunks import chunk_end
from offload_spark.job.reprocess_writer import RepairWriter, RestateWriter
from offload_spark.job.run_context import RunContext

log = logging.getLogger("offload")


def reprocess(run: RunContext, watermark: LedgerRow, interval: Interval) -> tuple[int, LedgerRow]:
    """Restate an interval if that is the run's mode, else repair it.

    Returns:
        How many rows were published, and the newest ledger row.

    Raises:
        RestateInterval: missing rows are inserted, but Iceberg holds others that ClickHouse holds differently or not
            at all.
        RepairInstead: restating would delete rows that ClickHouse no longer holds.
        FixConfiguration: the table has no keys, by which missing rows are found.
    """
    work = _restate if run.arguments.mode is RunMode.RESTATE else _repair
    return work(run, watermark, interval)


def _repair(run: RunContext, watermark: LedgerRow, interval: Interval) -> tuple[int, LedgerRow]:
    writer = RepairWriter(run, watermark.cursor, interval)
    everything = _selection(run, watermark.cursor, interval)
    rest: Selection | None = everything
    repaired = 0
    while rest is not None:
        started = time.monotonic()
        selection, rest = _first_chunk(run, rest)
        slices = run.source.slices(selection)
        if not slices:
            break
        window = Window(Cursor(interval.start), interval.last)
        marker = run.marker(watermark, StepKind.REPAIR, window, watermark.cursor, slices)
        published = writer.write(window, selection, slices, marker)
        if published.snapshot_id is not None:
            watermark = run.record(watermark, published, time.monotonic() - started)
            repaired += published.rows
    log.info("Rows repaired in %s: %d", interval, repaired)
    _require_same(run, writer, everything, interval)
    return repaired, watermark


def _require_same(run: RunContext, writer: RepairWriter, selection: Selection, interval: Interval) -> None:
    """Require that Iceberg holds the same rows as ClickHouse after the repair.

    Raises:
        RestateInterval: it does not.
    """
    problems = [f"{writer.changed} rows with other values than ClickHouse"] if writer.changed else []
    since = run.source.holds_all_since(run.described)
    if since is not None:
        timestamp = source_column(run.table, run.table.timestamp_col)
        complete = selection.narrow(f"{timestamp} >= {bind_time('sure_since', http_placeholder)}", sure_since=since)
        # Iceberg is counted first, so that a row that arrives in between cannot look like a surplus row.
        surplus = writer.rows_since(since) - sum(part.rows for part in run.source.slices(complete))
        problems += [f"{surplus} rows more than ClickHouse"] if surplus > 0 else []
    if problems:
        raise RestateInterval(
            f"Iceberg's {run.table.name} holds in {interval} {' and '.join(problems)}.",
            "Missing rows were inserted. To replace the interval with what ClickHouse holds now, "
            f"run `offload restate {run.table.name} "
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
    marker = run.marker(watermark, StepKind.RESTATE, window, watermark.cursor, slices)
    writer = RestateWriter(run, watermark.cursor, interval)
    published = writer.write(
        window,
        selection,
        slices,
        marker,
        on_fewer_rows=lambda: _require_all_of(run, interval, bool(run.source.slices(selection))),
    )
    watermark = run.record(watermark, published, time.monotonic() - started)
    log.info("Restated %s: %d rows", interval, published.rows)
    return published.rows, watermark


def _require_all_of(run: RunContext, interval: Interval, holds_rows: bool) -> None:
    """Require that ClickHouse still holds all of the interval's rows that Iceberg holds.

    Raises:
        RepairInstead: TTL may have removed some of them.
    """
    restate = Restate(run.table.name, interval, run.source.holds_all_since(run.described), holds_rows)
    expired = restate.expired
    if expired is not None and run.files.may_hold_rows_between(expired.start, expired.end):
        raise restate.refusal("Iceberg's rows")


def _selection(run: RunContext, watermark: Cursor, interval: Interval) -> Selection:
    return Selection(
        done_condition(run.table, interval, http_placeholder, from_start=False),
        done_parameters(None, watermark, interval),
    )


def _first_chunk(run: RunContext, selection: Selection) -> tuple[Selection, Selection | None]:
    """As much of a selection's beginning as one commit may hold, and the rest of it."""
    slices = run.source.slices(selection)
    run.fetch.choose(sum(part.rows for part in slices))
    end = chunk_end(run.source, run.table, selection, slices, run.settings.max_rows_per_commit)
    if end is None:
        return selection, None
    timestamp, bound = source_column(run.table, run.table.timestamp_col), bind_time("chunk_end", http_placeholder)
    # Every rest binds one more value, under a name of its own.
    number = sum(name.startswith("chunk_after") for name in selection.parameters)
    after = bind_time(f"chunk_after_{number}", http_placeholder)
    return (
        selection.narrow(f"{timestamp} <= {bound}", chunk_end=end),
        selection.narrow(f"{timestamp} > {after}", **{f"chunk_after_{number}": end}),
    )
