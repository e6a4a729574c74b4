"""The command `audit`: where the tiers differ, from days down to the rows themselves."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timezone
from typing import Annotated

import typer

from offload_core.config.tables import TableConfig
from offload_core.errors import FixConfiguration
from offload_core.ledger.session import connect
from offload_core.protocol.window import Interval
from offload_ops.audit.compare import Auditor, Finding, Grain, TableAudit, WindowAudit, audit_table, compare_windows
from offload_ops.audit.keys import differing_rows
from offload_ops.cli.context import (
    EXIT_DIFFERENT,
    Json,
    Names,
    OptionalFrom,
    OptionalTo,
    context_of,
    parse_interval,
)
from offload_ops.cli.output import Fields, print_rows

_COLUMNS = ("table", "from", "to", "hot_rows", "cold_rows", "finding")
_FINER = {Grain.DAY: "--by hour", Grain.HOUR: "--by minute", Grain.MINUTE: "--by minute --keys"}


def audit(
    ctx: typer.Context,
    tables: Names = None,
    start: OptionalFrom = None,
    end: OptionalTo = None,
    by: Annotated[Grain, typer.Option(help="How wide the windows are that are compared one by one.")] = Grain.HOUR,
    keys: Annotated[
        bool, typer.Option("--keys", help="List the keys of the rows that differ; for minutes that differ.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many keys of each kind, with --keys, per window.")] = 20,
    as_json: Json = False,
) -> None:
    """Compare hot and cold tier window by window, and say what a difference means: late, changed, surplus or lost rows.

    Without --from and --to: the hours before the watermark that the hourly audit compares (`audit_hours`). Windows are whole ones: hours of
    append tables begin `buffer_minutes` before the full hour, so that they hold whole runs. What TTL may have taken is left out. Audits by
    the hour are recorded in `offload_audits`; nothing else is changed. Exit status 1 if anything differs.
    """
    context = context_of(ctx)
    span = _span(start, end)
    if keys and by is not Grain.MINUTE:
        raise FixConfiguration("--keys lists the rows of minutes.", "Add --by minute.")
    chosen = context.chosen(tables)
    with context.clickhouse() as client, closing(connect(context.connections.postgres, "offload audit")) as session:
        auditor = Auditor(client, context.connections, session, context.settings)
        audits = [_audit(auditor, table, span, by) for table in chosen]
        if keys:
            _show_keys(auditor, audits, limit, as_json)
    if not keys:
        _show_windows(audits, by, as_json)
    if not all(found.is_equal for found in audits):
        raise typer.Exit(EXIT_DIFFERENT)


def _show_windows(audits: Sequence[TableAudit], by: Grain, as_json: bool) -> None:
    """All hours or days, but of minutes only those that differ."""
    rows = [
        _window_fields(found, audited, by)
        for found in audits
        for audited in (found.differing if by is Grain.MINUTE else found.windows)
    ]
    print_rows(rows, as_json, f"Hot and cold tier by the {by.value}", _COLUMNS, notes=("explanation", "next_step"))
    if not as_json:
        for found in audits:
            print(
                f"{found.table.name}: {len(found.windows):,} windows up to the watermark "
                f"{found.watermark.timestamp:%Y-%m-%d %H:%M:%S} compared, {len(found.differing):,} differ."
            )


def _window_fields(found: TableAudit, audited: WindowAudit, by: Grain) -> Fields:
    window, differences = audited.window, audited.differences
    deeper = (
        f"offload audit {found.table.name} --from {window.start.isoformat()} --to {window.end.isoformat()} {_FINER[by]}"
    )
    return {
        "table": found.table.name,
        "from": window.start,
        "to": window.end,
        "compared_from": audited.compared.start,
        "compared_to": audited.compared.end,
        "hot_rows": audited.hot.rows,
        "cold_rows": audited.cold.rows,
        "hot_hash": f"{audited.hot.hash:016x}",
        "cold_hash": f"{audited.cold.hash:016x}",
        "cold_source": audited.cold_source.value,
        "finding": audited.finding.value,
        "missing": differences.missing,
        "surplus": differences.surplus,
        "changed": differences.changed,
        "duplicates": differences.duplicates,
        "explanation": audited.explanation,
        "next_step": None if audited.finding is Finding.EQUAL else f"Look closer: {deeper}",
    }


def _show_keys(auditor: Auditor, audits: Sequence[TableAudit], limit: int, as_json: bool) -> None:
    rows: list[Fields] = [
        {
            "table": found.table.name,
            "minute": audited.window.start,
            "difference": row.kind,
            "row": ", ".join(f"{name}={value}" for name, value in row.key.items()),
        }
        for found in audits
        for audited in found.differing
        for row in differing_rows(auditor, found.table, audited.window, limit)
    ]
    print_rows(rows, as_json, "Rows that differ", ("table", "minute", "difference", "row"), notes=())


def _audit(auditor: Auditor, table: TableConfig, span: Interval | None, by: Grain) -> TableAudit:
    if by is not Grain.HOUR:
        return compare_windows(auditor, table, span, by)
    return audit_table(auditor, table, f"audit__{datetime.now(timezone.utc).isoformat(timespec='seconds')}", span)


def _span(start: str | None, end: str | None) -> Interval | None:
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise FixConfiguration("An interval has two ends.", "Give both --from and --to, or neither.")
    return parse_interval(start, end)
