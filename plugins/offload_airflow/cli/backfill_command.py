"""The command `offload backfill`: its options, its plan and its result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Annotated

import typer

from offload_airflow.cli.backfill import IntervalOutcome, outcomes, planned_intervals, run_backfill, run_once
from offload_airflow.compat.dag_runs import DagRuns
from offload_airflow.compat.types import BackfillRequest
from offload_airflow.dag_ids import DAG_ID
from offload_core.errors import FixConfiguration
from offload_core.protocol.window import Interval
from offload_ops.cli.context import (
    EXIT_DIFFERENT,
    Console,
    Context,
    DryRun,
    From,
    Json,
    To,
    Yes,
    confirm,
    context_of,
    parse_interval,
)
from offload_ops.cli.output import Fields, print_rows, verdict_fields
from offload_ops.text import clock
from offload_ops.tiers.verify import Verdict, verify

_SECONDS_PER_RUN = 12
"""How long Airflow takes for an interval without differences."""
_MANY = 25
"""From this number of intervals on, the command suggests --one-run."""


def backfill(
    ctx: typer.Context,
    start: From,
    end: To,
    table: Annotated[list[str] | None, typer.Option("--table", help="Only this table; may be repeated.")] = None,
    rerun: Annotated[
        bool,
        typer.Option(
            "--rerun",
            "--reset-dagruns",
            help="Also run intervals again whose runs have succeeded. Failed runs always run again.",
        ),
    ] = False,
    one_run: Annotated[
        bool, typer.Option("--one-run", help="Repair the whole period in one run instead of a run per interval.")
    ] = False,
    wait_minutes: Annotated[
        float, typer.Option("--wait", min=0, help="Minutes to wait for runs that are in progress.")
    ] = 30,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Run the DAG for every interval of a period with Airflow's own backfill, then compare both tiers.

    Airflow 2.11 needs the DAG paused in the meantime; Airflow 3 continues with the scheduled cycles.
    The exit status is 1 if a run failed or a table differs.
    """
    context, console = context_of(ctx), Console(as_json)
    request = BackfillRequest(
        interval=parse_interval(start, end),
        tables=context.chosen(table),
        is_all=not table,
        buffer=timedelta(minutes=context.settings.buffer_minutes),
        rerun=rerun,
        wait=timedelta(minutes=wait_minutes),
    )
    runs = DagRuns(DAG_ID)
    starts = planned_intervals(runs, request, datetime.now(timezone.utc))
    if not starts:
        raise FixConfiguration(f"No interval in {request.interval} is over yet.", "Choose an earlier --from or --to.")
    _print_plan(runs, request, starts, one_run, console)
    if dry_run:
        _print_result(outcomes(runs, starts), _verdicts(context, request), console)
        return
    confirm("Continue?", yes=yes)
    results = run_once(runs, request, console.echo) if one_run else run_backfill(runs, request, starts, console.echo)
    verdicts = _verdicts(context, request)
    _print_result(results, verdicts, console)
    if not all(run.succeeded for run in results) or not all(verdict.equal for verdict in verdicts):
        raise typer.Exit(EXIT_DIFFERENT)


def _print_plan(
    runs: DagRuns, request: BackfillRequest, starts: Sequence[datetime], one_run: bool, console: Console
) -> None:
    names = ", ".join(table.name for table in request.tables)
    if one_run:
        console.echo(f"One run repairs {request.interval} of {names}.")
        return
    existing = runs.starting_at(starts)
    succeeded = sum(run.state == "success" for run in existing.values())
    console.echo(f"{len(starts)} intervals, starting between {clock(starts[0])} and {clock(starts[-1])}: {names}.")
    console.echo(f"{succeeded} have succeeded before and {'run again' if request.rerun else 'are only checked'}.")
    if len(starts) >= _MANY:
        minutes = len(starts) * _SECONDS_PER_RUN / 60
        console.echo(f"This takes about {minutes:.0f} minutes; --one-run does the same in one run.")


def _verdicts(context: Context, request: BackfillRequest) -> list[Verdict]:
    """Compare both tiers of every table in the whole period."""
    # As in the runs, a candle belongs to the interval in which it closes.
    interval = Interval(request.interval.start, request.interval.end, by_close=True)
    with context.ledger() as ledger, context.clickhouse() as client:
        return [
            verify(client, context.connections, table, ledger.cursor(table.name), interval) for table in request.tables
        ]


def _print_result(results: Sequence[IntervalOutcome], verdicts: Sequence[Verdict], console: Console) -> None:
    tables = [verdict_fields(verdict) for verdict in verdicts]
    if console.as_json:
        result = {"runs": [_run_fields(run) for run in results], "tables": tables}
        print(json.dumps(result, indent=2, default=lambda moment: moment.isoformat()))
        return
    for run in results:
        if not run.succeeded:
            console.echo(f"✗ {clock(run.start)}: {run.state}{f' ({run.run_id})' if run.run_id else ''}")
    console.echo(f"{sum(run.succeeded for run in results)} of {len(results)} runs have succeeded.")
    print_rows(tables, False, "Hot and cold tier", ("table", "watermark", "hot_rows", "cold_rows", "verdict"))
    if not all(verdict.equal for verdict in verdicts):
        console.echo("Tables differ: run the command again with --rerun, or compare them with `offload verify`.")


def _run_fields(run: IntervalOutcome) -> Fields:
    return {"start": run.start, "run": run.run_id, "state": run.state}
