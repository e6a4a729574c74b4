"""Commands that set watermarks: `reset` and `resume`. They write one ledger row each, and no run is disturbed by them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from offload_core.config.tables import TableConfig
from offload_core.errors import FixConfiguration, TargetTableMissing, WatermarkInvalid, WatermarkNotFound
from offload_core.ledger.ledger import Ledger
from offload_core.protocol.marker import Marker
from offload_core.protocol.window import ORIGIN, Cursor, plan_window
from offload_core.source.queries import NOW, parse_time
from offload_core.source.row_counts import rows_between
from offload_ops.cli.context import Context, DryRun, Json, Speaker, Table, Yes, ask, context_of, parse_moment
from offload_ops.resume import find_stop, let_go_on, not_stopped
from offload_ops.tiers.cold_table import newest_marker


def reset(
    ctx: typer.Context,
    table: Table,
    to: Annotated[
        str,
        typer.Option(
            help="The new watermark: ISO 8601 with zone, for example 2026-11-20T10:00:00+00:00; `epoch` for the very beginning; "
            "`iceberg` for the newest commit's, as Iceberg itself has it."
        ),
    ],
    accept_gap: Annotated[
        bool, typer.Option("--accept-gap", help="Also move forward, past rows that then are never offloaded.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Set a table's watermark. The next run reads again from there.

    Backwards is safe: what Iceberg holds already is not inserted twice, and nothing is deleted from it. Forwards gives rows up: only with
    --accept-gap, after a count of them, and never past ClickHouse's clock minus the buffer.
    """
    context = context_of(ctx)
    config = context.one(table)
    speaker = Speaker(as_json)
    with context.ledger() as ledger, context.clickhouse() as client:
        now = parse_time(client.rows(NOW)[0]["now"])
        new = _new_watermark(context, config, to, now)
        current, told = _current_watermark(context, ledger, config, now)
        read_again = rows_between(client, config, new, current) if new < current else 0
        skipped = rows_between(client, config, current, new) if new > current else 0
        speaker.say(f"{config.name}: the watermark is {told} and would be {new}.")
        if new > current:
            _require_consent_to_gap(config, new, current, skipped, accept_gap)
            speaker.say(f"{skipped:,} rows that have not been offloaded would be SKIPPED: no run will ever read them.")
        else:
            speaker.say(
                f"{read_again:,} rows that ClickHouse still holds would be read again; Iceberg gets only those that it lacks."
            )
        if config.name in ledger.halts():
            speaker.say(
                f"The table is halted: run `offload resume {config.name}` afterwards, it says what that accepts."
            )
        if not dry_run:
            ask(f"Set the watermark of {config.name} to {new}?", yes=yes)
            ledger.reset(config.name, new)
    speaker.say(
        f"{config.name}: watermark is {told}, unchanged (dry run)" if dry_run else f"{config.name}: watermark is {new}"
    )
    speaker.result(
        {
            "table": config.name,
            "dry_run": dry_run,
            "from": current.timestamp,
            "from_sequence": current.sequence,
            "to": new.timestamp,
            "rows_read_again": read_again,
            "rows_skipped": skipped,
        }
    )


def _new_watermark(context: Context, table: TableConfig, to: str, now: datetime) -> Cursor:
    if to == "epoch":
        return ORIGIN
    if to == "iceberg":
        marker = _newest_marker(context, table)
        if marker is None:
            raise FixConfiguration(
                f"Iceberg's {table.name} holds no commit of this pipeline, and so no watermark.",
                "Give a time, or `--to epoch`.",
            )
        return marker.cursor
    moment = parse_moment(to, "--to")
    latest = now - timedelta(minutes=context.settings.buffer_minutes)
    if moment > latest:
        raise FixConfiguration(
            f"{moment.isoformat()} lies after ClickHouse's clock minus the buffer ({latest.isoformat(timespec='seconds')}): "
            "rows that are still to come would never be offloaded.",
            "Choose an earlier time.",
        )
    return Cursor(moment)


def _newest_marker(context: Context, table: TableConfig) -> Marker | None:
    try:
        return newest_marker(context.connections.iceberg, table.target, context.settings.pipeline_id)
    except TargetTableMissing:
        return None


def _current_watermark(context: Context, ledger: Ledger, table: TableConfig, now: datetime) -> tuple[Cursor, str]:
    """How far the table has been offloaded, and in words.

    A watermark that can't be true says nothing about that; Iceberg's newest commit does.
    """
    cursor: Cursor | None = None
    try:
        cursor = ledger.cursor(table.name)
        # Refuses a watermark that no run would start from.
        plan_window(cursor, now, None, timedelta(minutes=context.settings.buffer_minutes))
    except WatermarkNotFound:
        return ORIGIN, "not there"
    except WatermarkInvalid:
        marker = _newest_marker(context, table)
        offloaded = marker.cursor if marker else ORIGIN
        return offloaded, f"{cursor or 'unreadable'}, which can't be true (Iceberg's newest commit says {offloaded}),"
    return cursor, str(cursor)


def _require_consent_to_gap(table: TableConfig, new: Cursor, current: Cursor, skipped: int, accept_gap: bool) -> None:
    if not accept_gap:
        raise FixConfiguration(
            f"{new} lies after the watermark {current} of {table.name}: {skipped:,} rows in between that have not been offloaded "
            "would be skipped, and no run will ever read them.",
            "Choose an earlier time; to give those rows up, add --accept-gap.",
        )


def resume(
    ctx: typer.Context,
    table: Table,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Let a halted table go on, with source and target as they are now; says first why it was stopped and what that accepts.

    The watermark stays; to go on from another one, run `offload reset` first.
    """
    context = context_of(ctx)
    config = context.one(table)
    speaker = Speaker(as_json)
    with context.ledger() as ledger, context.clickhouse() as client:
        watermark = ledger.cursor(config.name)
        stop = find_stop(ledger, client, context.connections.iceberg, config)
        if stop is None:
            speaker.say(not_stopped(config.name))
        else:
            for line in (stop.since, f"  {stop.why}", stop.accepts, *(f"  {count}" for count in stop.counts)):
                speaker.say(line)
            if not dry_run:
                ask(stop.question, yes=yes)
                watermark = let_go_on(ledger, (config.name, stop.cause.id)).cursor
            speaker.say(f"{config.name}: {'would go' if dry_run else 'goes'} on from {watermark}")
    cause = stop.cause if stop else None
    speaker.result(
        {
            "table": config.name,
            "dry_run": dry_run,
            "resumed": cause is not None and not dry_run,
            "cause": cause.error_kind if cause else None,
            "error": cause.last_error_message if cause else None,
            "watermark": watermark.timestamp,
            "sequence": watermark.sequence,
        }
    )
