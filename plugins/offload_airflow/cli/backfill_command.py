"""`offload backfill` as it is typed and as it answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Annotated

import typer

from offload_airflow.cli.backfill import (
    DAG_ID,
    BackfillRequest,
    Ended,
    outcomes,
    planned_intervals,
    run_backfill,
    run_once,
)
from offload_airflow.compat.dag_runs import DagRuns
from offload_core.errors import FixConfiguration
from offload_core.protocol.window import Interval
from offload_ops.cli.context import (
    EXIT_DIFFERENT,
    Context,
    DryRun,
    From,
    Json,
    Speaker,
    To,
    Yes,
    ask,
    context_of,
    parse_interval,
)
from offload_ops.cli.output import Fields, print_rows, verdict_fields
from offload_ops.tiers.verify import Verdict, verify

_SECONDS_PER_RUN = 12
"""How long Airflow takes for an interval in which nothing is wrong."""
_MANY = 25
"""From so many intervals on, one run over all of them is worth a word."""


def backfill(
    ctx: typer.Context,
    start: From,
    end: To,
    table: Annotated[list[str] | None, typer.Option("--table", help="Only this table; may be repeated.")] = None,
    rerun: Annotated[
        bool,
        typer.Option(
            "--rerun", "--reset-dagruns", help="Also intervals whose runs have succeeded; failed ones run again anyway."
        ),
    ] = False,
    one_run: Annotated[
        bool, typer.Option("--one-run", help="Repair the whole period in one run instead of a run per interval.")
    ] = False,
    wait_minutes: Annotated[
        float, typer.Option("--wait", min=0, help="Minutes to wait for runs that are at work.")
    ] = 30,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Run the DAG for every interval of a period, by Airflow's own backfill, and check the result on both sides.

    On Airflow 2.11 the DAG is paused meanwhile; Airflow 3 goes on with the cycles that are due.
    Exit status 1 if a run failed or a table differs.
    """
    context, speaker = context_of(ctx), Speaker(as_json)
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
    _tell_plan(runs, request, starts, one_run, speaker)
    if dry_run:
        _tell_result(outcomes(runs, starts), _verdicts(context, request), speaker)
        return
    ask("Go on?", yes=yes)
    ended = run_once(runs, request, speaker.say) if one_run else run_backfill(runs, request, starts, speaker.say)
    verdicts = _verdicts(context, request)
    _tell_result(ended, verdicts, speaker)
    if not all(run.is_well for run in ended) or not all(verdict.equal for verdict in verdicts):
        raise typer.Exit(EXIT_DIFFERENT)


def _tell_plan(
    runs: DagRuns, request: BackfillRequest, starts: Sequence[datetime], one_run: bool, speaker: Speaker
) -> None:
    names = ", ".join(table.name for table in request.tables)
    if one_run:
        speaker.say(f"One run repairs {request.interval} of {names}.")
        return
    existing = runs.starting_at(starts)
    well = sum(run.state == "success" for run in existing.values())
    speaker.say(
        f"{len(starts)} intervals, from the one of {_short(starts[0])} to the one of {_short(starts[-1])}: {names}."
    )
    speaker.say(f"{well} have run well, and {'run again' if request.rerun else 'are only checked'}.")
    if len(starts) >= _MANY:
        minutes = len(starts) * _SECONDS_PER_RUN / 60
        speaker.say(f"That takes about {minutes:.0f} minutes; --one-run does the same in one run.")


def _verdicts(context: Context, request: BackfillRequest) -> list[Verdict]:
    """Both sides of every table, of all that the runs had to move."""
    # Candles count by their close, as they do for the runs.
    interval = Interval(request.interval.start, request.interval.end, by_close=True)
    with context.ledger() as ledger, context.clickhouse() as client:
        return [
            verify(client, context.connections, table, ledger.cursor(table.name), interval) for table in request.tables
        ]


def _tell_result(ended: Sequence[Ended], verdicts: Sequence[Verdict], speaker: Speaker) -> None:
    tables = [verdict_fields(verdict) for verdict in verdicts]
    if speaker.as_json:
        result = {"runs": [_run_fields(run) for run in ended], "tables": tables}
        print(json.dumps(result, indent=2, default=lambda moment: moment.isoformat()))
        return
    for run in ended:
        if not run.is_well:
            speaker.say(f"✗ {_short(run.start)}: {run.state}{f' ({run.run_id})' if run.run_id else ''}")
    speaker.say(f"{sum(run.is_well for run in ended)} of {len(ended)} runs have succeeded.")
    print_rows(tables, False, "Hot and cold tier", ("table", "watermark", "hot_rows", "cold_rows", "verdict"))
    if not all(verdict.equal for verdict in verdicts):
        speaker.say("Tables differ: give the command again with --rerun, or look at them with `offload verify`.")


def _run_fields(run: Ended) -> Fields:
    return {"start": run.start, "run": run.run_id, "state": run.state}


def _short(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M")
