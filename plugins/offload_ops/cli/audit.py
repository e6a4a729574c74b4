"""The command `offload audit`: where the tiers differ, from days down to single rows."""

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
    parse_optional_interval,
)
from offload_ops.cli.output import Fields, print_rows
from offload_ops.text import clock_seconds

_COLUMNS = ("table", "from", "to", "hot_rows", "cold_rows", "finding")
_FINER = {Grain.DAY: "--by hour", Grain.HOUR: "--by minute", Grain.MINUTE: "--by minute --keys"}


def audit(
    ctx: typer.Context,
    tables: Names = None,
    start: OptionalFrom = None,
    end: OptionalTo = None,
    by: Annotated[Grain, typer.Option(help="The width of the compared windows.")] = Grain.HOUR,
    keys: Annotated[
        bool, typer.Option("--keys", help="List the keys of the differing rows; needs --by minute.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=1, help="With --keys: the maximum number of keys of each kind per window.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """Compare both tiers window by window, and classify each difference: late, changed, surplus or lost rows.

    Without --from and --to, the command compares the hours before the watermark that the hourly audit also compares
    (`audit_hours`). It compares whole windows. For append tables, an hour starts `buffer_minutes` before the full hour,
    so that it contains whole runs. Rows that TTL may have deleted are left out. Audits by hour are recorded in
    `offload_audits`; nothing else is changed. The exit status is 1 if anything differs.
    """
    context = context_of(ctx)
    span = parse_optional_interval(start, end)
    if keys and by is not Grain.MINUTE:
        raise FixConfiguration("--keys lists the rows of single minutes.", "Add --by minute.")
    chosen = context.chosen(tables)
    with context.clickhouse() as client, closing(connect(context.connections.postgres, "offload audit")) as session:
        auditor = Auditor(client, context.connections, session, context.settings)
        audits = [_audit(auditor, table, span, by) for table in chosen]
        if keys:
            _show_keys(auditor, audits, limit, as_json)
    if not keys:
        _show_windows(audits, by, as_json)
    if not all(audit.is_equal for audit in audits):
        raise typer.Exit(EXIT_DIFFERENT)


def _show_windows(audits: Sequence[TableAudit], by: Grain, as_json: bool) -> None:
    """Print all hours or days. Of minutes, only those that differ are printed."""
    rows = [
        _window_fields(audit, window, by)
        for audit in audits
        for window in (audit.differing if by is Grain.MINUTE else audit.windows)
    ]
    print_rows(rows, as_json, f"Hot and cold tier by the {by.value}", _COLUMNS, notes=("explanation", "next_step"))
    if not as_json:
        for audit in audits:
            print(
                f"{audit.table.name}: compared {len(audit.windows):,} windows up to the watermark "
                f"{clock_seconds(audit.watermark.timestamp)}; {len(audit.differing):,} differ."
            )


def _window_fields(audit: TableAudit, audited: WindowAudit, by: Grain) -> Fields:
    window, differences = audited.window, audited.differences
    interval = f"--from {window.start.isoformat()} --to {window.end.isoformat()}"
    finer = f"offload audit {audit.table.name} {interval} {_FINER[by]}"
    return {
        "table": audit.table.name,
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
        "next_step": None if audited.finding is Finding.EQUAL else f"For more detail: {finer}",
    }


def _show_keys(auditor: Auditor, audits: Sequence[TableAudit], limit: int, as_json: bool) -> None:
    rows: list[Fields] = [
        {
            "table": audit.table.name,
            "minute": window.window.start,
            "difference": row.kind,
            "row": ", ".join(f"{name}={value}" for name, value in row.key.items()),
        }
        for audit in audits
        for window in audit.differing
        for row in differing_rows(auditor, audit.table, window.window, limit)
    ]
    print_rows(rows, as_json, "Rows that differ", ("table", "minute", "difference", "row"), notes=())


def _audit(auditor: Auditor, table: TableConfig, span: Interval | None, by: Grain) -> TableAudit:
    if by is not Grain.HOUR:
        return compare_windows(auditor, table, span, by)
    return audit_table(auditor, table, f"audit__{datetime.now(timezone.utc).isoformat(timespec='seconds')}", span)
