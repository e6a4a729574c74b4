"""The commands that set watermarks: `reset` and `resume`. Each writes one ledger row and disturbs no run."""

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
from offload_ops.cli.context import Console, Context, DryRun, Json, Table, Yes, confirm, context_of, parse_moment
from offload_ops.resume import not_halted, resume_table, review_halt
from offload_ops.tiers.cold_table import newest_marker


def reset(
    ctx: typer.Context,
    table: Table,
    to: Annotated[
        str,
        typer.Option(
            help="The new watermark: a time in ISO 8601 with a zone, for example 2026-11-20T10:00:00+00:00; `epoch` "
            "for 1970; or `iceberg` for the watermark of the newest commit in Iceberg."
        ),
    ],
    accept_gap: Annotated[
        bool, typer.Option("--accept-gap", help="Allow moving forward past rows, which are then never offloaded.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Set a table's watermark. The next run starts from there.

    Moving backward is safe: no row is inserted into Iceberg twice, and none is deleted. Moving forward skips rows
    forever. It needs --accept-gap, counts the rows first, and never passes ClickHouse's clock minus the buffer.
    """
    context = context_of(ctx)
    config = context.one(table)
    console = Console(as_json)
    with context.ledger() as ledger, context.clickhouse() as client:
        now = parse_time(client.rows(NOW)[0]["now"])
        new = _new_watermark(context, config, to, now)
        current, description = _current_watermark(context, ledger, config, now)
        read_again = rows_between(client, config, new, current) if new < current else 0
        skipped = rows_between(client, config, current, new) if new > current else 0
        console.echo(f"{config.name}: the watermark is {description} and would be {new}.")
        if new > current:
            _require_consent_to_gap(config, new, current, skipped, accept_gap)
            console.echo(f"{skipped:,} rows that have not been offloaded would be SKIPPED: no run will ever read them.")
        else:
            console.echo(
                f"{read_again:,} rows that ClickHouse still holds would be read again. Only those that Iceberg lacks "
                "are inserted."
            )
        if config.name in ledger.halts():
            console.echo(
                f"The table is halted: run `offload resume {config.name}` afterwards; it says what resuming accepts."
            )
        if not dry_run:
            confirm(f"Set the watermark of {config.name} to {new}?", yes=yes)
            ledger.reset(config.name, new)
    result = f"watermark is {description}, unchanged (dry run)" if dry_run else f"watermark is {new}"
    console.echo(f"{config.name}: {result}")
    console.result(
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
                f"{table.name} in Iceberg holds no commit of this pipeline, and so no watermark.",
                "Give a time, or `--to epoch`.",
            )
        return marker.cursor
    moment = parse_moment(to, "--to")
    latest = now - timedelta(minutes=context.settings.buffer_minutes)
    if moment > latest:
        raise FixConfiguration(
            f"{moment.isoformat()} is later than ClickHouse's clock minus the buffer "
            f"({latest.isoformat(timespec='seconds')}): rows that have not arrived yet would never be offloaded.",
            "Choose an earlier time.",
        )
    return Cursor(moment)


def _newest_marker(context: Context, table: TableConfig) -> Marker | None:
    try:
        return newest_marker(context.connections.iceberg, table.target, context.settings.pipeline_id)
    except TargetTableMissing:
        return None


def _current_watermark(context: Context, ledger: Ledger, table: TableConfig, now: datetime) -> tuple[Cursor, str]:
    """The position up to which the table has been offloaded, and its description.

    If the recorded watermark is impossible, the position is that of Iceberg's newest commit.
    """
    cursor: Cursor | None = None
    try:
        cursor = ledger.cursor(table.name)
        # Refuses a watermark that no run would start from.
        plan_window(cursor, now, None, timedelta(minutes=context.settings.buffer_minutes))
    except WatermarkNotFound:
        return ORIGIN, "not set"
    except WatermarkInvalid:
        marker = _newest_marker(context, table)
        offloaded = marker.cursor if marker else ORIGIN
        return offloaded, f"{cursor or 'unreadable'}, which is impossible (Iceberg's newest commit says {offloaded}),"
    return cursor, str(cursor)


def _require_consent_to_gap(table: TableConfig, new: Cursor, current: Cursor, skipped: int, accept_gap: bool) -> None:
    if not accept_gap:
        raise FixConfiguration(
            f"{new} is later than the watermark {current} of {table.name}: {skipped:,} rows in between that have not "
            "been offloaded would be skipped, and no run will ever read them.",
            "Choose an earlier time. To skip these rows, add --accept-gap.",
        )


def resume(
    ctx: typer.Context,
    table: Table,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Resume a halted table with source and target as they are now.

    The command first says why the table was halted and what resuming accepts. The watermark stays. To resume from
    another one, run `offload reset` first.
    """
    context = context_of(ctx)
    config = context.one(table)
    console = Console(as_json)
    with context.ledger() as ledger, context.clickhouse() as client:
        watermark = ledger.cursor(config.name)
        review = review_halt(ledger, client, context.connections.iceberg, config)
        if review is None:
            console.echo(not_halted(config.name))
        else:
            for line in (
                review.headline,
                f"  {review.reason}",
                review.accepts,
                *(f"  {count}" for count in review.counts),
            ):
                console.echo(line)
            if not dry_run:
                confirm(review.question, yes=yes)
                watermark = resume_table(ledger, config.name, review.cause.id).cursor
            console.echo(f"{config.name}: {'would resume' if dry_run else 'resumes'} from {watermark}")
    cause = review.cause if review else None
    console.result(
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
