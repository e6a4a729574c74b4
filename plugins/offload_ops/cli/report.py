"""`report`: what the weekly mail tells, for any period and at any time."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

from offload_core.errors import FixConfiguration
from offload_core.ledger.history import read_ledger
from offload_core.ledger.session import connect
from offload_core.protocol.window import Interval
from offload_ops.cli.context import Context, Json, Speaker, context_of, parse_moment
from offload_ops.report.compute import compute
from offload_ops.report.maintenance import read_upkeep
from offload_ops.report.model import WEEK, Report


def report(
    ctx: typer.Context,
    out: Annotated[Path | None, typer.Option("--out", help="Write it to this file as HTML with plots.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="First moment, by the time of the runs.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End, itself not part of it.")] = None,
    as_json: Json = False,
) -> None:
    """Tell how the last seven days were: uptime, success rate, lag, volumes, late rows, failures, restarts; or another period.

    Printed as text unless --out or --json asks for something else. What only Airflow knows is left out where the command runs without it.
    """
    now = datetime.now(timezone.utc)
    period = _period(start, end, now)
    made = _made(context_of(ctx), period, now)
    # These bring jinja2 along, and plots matplotlib, for which no other command has to wait.
    from offload_ops.report.pages import as_file, as_json_text, as_text, write

    if out is not None:
        from offload_ops.report.plots import plots

        write(out, as_file(made, plots(made)))
        Speaker(as_json).say(f"Written to {out}.")
    if as_json:
        print(as_json_text(made))
    elif out is None:
        print(as_text(made), end="")


def _period(start: str | None, end: str | None, now: datetime) -> Interval:
    if (start is None) != (end is None):
        raise FixConfiguration(
            "A period has two ends.", "Give both --from and --to, or neither for the last seven days."
        )
    if start is None or end is None:
        return Interval(now - WEEK, now)
    return Interval(parse_moment(start, "--from"), parse_moment(end, "--to"))


def _made(context: Context, period: Interval, now: datetime) -> Report:
    with closing(connect(context.connections.postgres, "offload command")) as session:
        ledger = read_ledger(session, context.settings.pipeline_id, period)
        upkeep = read_upkeep(session, context.settings.pipeline_id, period)
    airflow = context.airflow_history(period) if context.airflow_history else None
    return compute(
        context.settings.pipeline_id, period, context.tables, ledger, airflow, upkeep, context.settings.lag_minutes, now
    )
