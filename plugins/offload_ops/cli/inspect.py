"""The commands that only read: `status`, `history`, `verify`, `doctor`."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import Annotated

import typer

from offload_ops.cli.context import (
    EXIT_DIFFERENT,
    Context,
    Json,
    Names,
    OptionalFrom,
    OptionalTo,
    Table,
    context_of,
    parse_optional_interval,
)
from offload_ops.cli.output import (
    history_fields,
    print_results,
    print_rows,
    result_fields,
    status_fields,
    verdict_fields,
)
from offload_ops.doctor.checks import all_checks
from offload_ops.doctor.context import CheckContext
from offload_ops.doctor.model import CONFIGURATION, Check, CheckResult, Health, examine
from offload_ops.table_state import read_states
from offload_ops.tiers.cold_table import load_libraries
from offload_ops.tiers.verify import verify


def status(ctx: typer.Context, as_json: Json = False) -> None:
    """Show the watermark, last success, lag and state of each table, and what to do about halted and failing tables."""
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
    limit: Annotated[int, typer.Option(min=1, help="How many rows to show.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the newest ledger rows of a table: steps, failures, halts and changes by operators, newest first."""
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
    """Compare both tiers up to the watermark by count and hash: all rows, or an interval.

    Rows that ClickHouse's TTL may have deleted are left out. The command changes nothing; `offload repair` inserts
    missing rows. The exit status is 1 if a table differs.
    """
    interval = parse_optional_interval(start, end)
    context = context_of(ctx)
    chosen = context.chosen(tables)
    with context.ledger() as ledger, context.clickhouse() as client:
        verdicts = [verify(client, context.connections, table, ledger.cursor(table.name), interval) for table in chosen]
    rows = [verdict_fields(verdict) for verdict in verdicts]
    print_rows(rows, as_json, "Hot and cold tier", ("table", "from", "to", "hot_rows", "cold_rows", "verdict"))
    if not all(verdict.equal for verdict in verdicts):
        raise typer.Exit(EXIT_DIFFERENT)


def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Run six checks in a few seconds: scheduler, metrics, lag, last cycles, failures, servers. Each says what to do.

    A server that does not answer turns its check red and does not hold up the others. `watch` needs attention, but is
    not urgent. The exit status is 1 if any check is red.
    """
    loaded: list[Context] = []

    def load() -> list[CheckResult]:
        loaded.append(context_of(ctx))
        return [CheckResult(CONFIGURATION, Health.GREEN, "Read.")]

    remedy = "Check that Airflow's database is up, or that the connections file is readable."
    results = examine([Check(CONFIGURATION, load, remedy)])
    if loaded:
        context = loaded[0]
        load_libraries()
        now = datetime.now(timezone.utc)
        check_context = CheckContext(context.connections, context.tables, context.settings, dict(os.environ), now)
        results = examine(all_checks(check_context, context.airflow_checks))
    print_results([result_fields(result) for result in results], as_json)
    if any(result.health is Health.RED for result in results):
        raise typer.Exit(EXIT_DIFFERENT)
