"""Commands that only look: `status`, `history`, `verify`, `doctor`."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import Annotated

import typer

from offload_core.errors import FixConfiguration
from offload_core.protocol.window import Interval
from offload_ops.cli.context import (
    EXIT_DIFFERENT,
    Context,
    Json,
    Names,
    OptionalFrom,
    OptionalTo,
    Table,
    context_of,
    parse_interval,
)
from offload_ops.cli.output import (
    finding_fields,
    history_fields,
    print_findings,
    print_rows,
    status_fields,
    verdict_fields,
)
from offload_ops.doctor.checks import Surroundings, all_checks
from offload_ops.doctor.model import CONFIGURATION, Check, Finding, Health, examine
from offload_ops.table_state import read_states
from offload_ops.tiers.cold_table import load_libraries
from offload_ops.tiers.verify import verify


def status(ctx: typer.Context, as_json: Json = False) -> None:
    """Show each table's watermark, last success, lag and state; of halted and failing tables also why, and what to do."""
    context = context_of(ctx)
    with context.ledger() as ledger:
        states = read_states(ledger, context.tables, context.settings.lag_minutes, datetime.now(timezone.utc))
    rows = [status_fields(state) for state in states]
    print_rows(
        rows,
        as_json,
        "Iceberg offload",
        ("table", "state", "watermark", "last_success", "lag_minutes", "failures"),
        notes=("error", "next_step"),
    )


def history(
    ctx: typer.Context,
    table: Table,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the newest ledger rows of a table: every step, failure, halt and operator's word, newest first."""
    context = context_of(ctx)
    config = context.one(table)
    with context.ledger() as ledger:
        rows = [history_fields(row) for row in ledger.history(config.name, limit)]
    print_rows(rows, as_json, config.name, ("created_at", "status", "kind", "watermark", "rows", "run", "attempt"))


def verify_tables(
    ctx: typer.Context,
    tables: Names = None,
    start: OptionalFrom = None,
    end: OptionalTo = None,
    as_json: Json = False,
) -> None:
    """Compare hot and cold tier up to the watermark, by count and hash: everything, or an interval.

    What ClickHouse's TTL may have taken is left out. Changes nothing; `offload repair` mends what differs. Exit status 1 if a table
    differs.
    """
    interval = _interval(start, end)
    context = context_of(ctx)
    chosen = context.chosen(tables)
    with context.ledger() as ledger, context.clickhouse() as client:
        verdicts = [verify(client, context.connections, table, ledger.cursor(table.name), interval) for table in chosen]
    rows = [verdict_fields(verdict) for verdict in verdicts]
    print_rows(rows, as_json, "Hot and cold tier", ("table", "from", "to", "hot_rows", "cold_rows", "verdict"))
    if not all(verdict.equal for verdict in verdicts):
        raise typer.Exit(EXIT_DIFFERENT)


def _interval(start: str | None, end: str | None) -> Interval | None:
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise FixConfiguration("An interval has two ends.", "Give both --from and --to, or neither.")
    return parse_interval(start, end)


def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Six checks in a few seconds: scheduler, metrics, lag, last cycles, failures, servers; each with what to do.

    A server that does not answer turns its check red and does not hold up the others. `watch` needs attention but no hurry. Exit status 1
    if any check is red.
    """
    loaded: list[Context] = []

    def load() -> list[Finding]:
        loaded.append(context_of(ctx))
        return [Finding(CONFIGURATION, Health.GREEN, "Read.")]

    remedy = "See that Airflow's database is up, or that the connections file can be read."
    findings = examine([Check(CONFIGURATION, load, remedy)])
    if loaded:
        context = loaded[0]
        load_libraries()
        now = datetime.now(timezone.utc)
        around = Surroundings(context.connections, context.tables, context.settings, dict(os.environ), now)
        findings = examine(all_checks(around, context.airflow_checks))
    print_findings([finding_fields(finding) for finding in findings], as_json)
    if any(finding.health is Health.RED for finding in findings):
        raise typer.Exit(EXIT_DIFFERENT)
