"""The command `offload report`: the content of the weekly mail, for any period and at any time."""

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
from offload_ops.cli.context import Console, Context, Json, context_of, parse_moment
from offload_ops.report.compute import ReportData, build_report
from offload_ops.report.maintenance import read_maintenance
from offload_ops.report.model import WEEK, Report


def report(
    ctx: typer.Context,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the report to this file, as HTML with plots.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Start of the period (inclusive), by the time of the runs.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="End of the period (exclusive).")] = None,
    as_json: Json = False,
) -> None:
    """Report on the last seven days or another period: uptime, success rate, lag, volumes, late rows, failures.

    Without --out and --json, the report is printed as text. If the command runs without Airflow, it leaves out what
    only Airflow knows.
    """
    now = datetime.now(timezone.utc)
    period = _period(start, end, now)
    created = _build(context_of(ctx), period, now)
    # These import jinja2, and plots imports matplotlib, which would slow down every other command.
    from offload_ops.report.pages import as_file, as_json_text, as_text, write

    if out is not None:
        from offload_ops.report.plots import plots

        write(out, as_file(created, plots(created)))
        Console(as_json).echo(f"Written to {out}.")
    if as_json:
        print(as_json_text(created))
    elif out is None:
        print(as_text(created), end="")


def _period(start: str | None, end: str | None, now: datetime) -> Interval:
    if (start is None) != (end is None):
        raise FixConfiguration(
            "A period has two ends.", "Give both --from and --to, or neither for the last seven days."
        )
    if start is None or end is None:
        return Interval(now - WEEK, now)
    return Interval(parse_moment(start, "--from"), parse_moment(end, "--to"))


def _build(context: Context, period: Interval, now: datetime) -> Report:
    pipeline, bounds = context.settings.pipeline_id, context.settings.lag_minutes
    with closing(connect(context.connections.postgres, "offload command")) as session:
        ledger = read_ledger(session, pipeline, period)
        maintenance = read_maintenance(session, pipeline, period)
    airflow = context.airflow_history(period) if context.airflow_history else None
    return build_report(ReportData(pipeline, period, context.tables, ledger, airflow, maintenance, bounds, now))
