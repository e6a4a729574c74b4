"""The commands `repair` and `restate`. They compare both tiers first, and start Spark only if there is work to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import typer

from offload_core.config.tables import TableConfig
from offload_core.jobs.arguments import JobArguments
from offload_core.jobs.spark_run import run_job
from offload_core.protocol.plan import RunMode, plan_run
from offload_core.protocol.restate import Restate
from offload_core.protocol.window import Cursor, Interval
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.queries import NOW, parse_time
from offload_core.source.row_counts import rows_in
from offload_ops.cli.context import (
    EXIT_DIFFERENT,
    Console,
    Context,
    DryRun,
    From,
    Json,
    Table,
    To,
    Yes,
    confirm,
    context_of,
    parse_interval,
)
from offload_ops.cli.output import Fields
from offload_ops.tiers.verify import Verdict, count_both_tiers, verify


def repair(
    ctx: typer.Context,
    table: Table,
    start: From,
    end: To,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Compare both tiers in an interval, and insert the rows that Iceberg lacks.

    Nothing in Iceberg is changed or deleted. If the interval reaches past the watermark, the rows there are offloaded
    too. The Spark job runs on this machine (master: OFFLOAD_SPARK_MASTER, default local[*]) and needs no running
    Airflow. Beside a running Airflow, each table's lock keeps the two apart. The exit status is 1 if both tiers differ:
    in a dry run before the repair, else after it.
    """
    interval = parse_interval(start, end)
    _reprocess(RunMode.REPAIR, context_of(ctx), table, interval, dry_run=dry_run, yes=yes, as_json=as_json)


def restate(
    ctx: typer.Context,
    table: Table,
    start: From,
    end: To,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Replace an offloaded interval in Iceberg by ClickHouse's current rows, in one commit.

    Use it for rows that were corrected or deleted in ClickHouse. The command first says how many rows are replaced. It
    refuses if ClickHouse's TTL has deleted rows that Iceberg still holds, because they would be lost. The Spark job
    runs on this machine, as with `repair`. The exit status is 1 if both tiers differ: in a dry run before the restate,
    else after it.
    """
    interval = parse_interval(start, end)
    _reprocess(RunMode.RESTATE, context_of(ctx), table, interval, dry_run=dry_run, yes=yes, as_json=as_json)


@dataclass(frozen=True)
class _Before:
    """An interval before the job.

    Attributes:
        verdict: the comparison of the comparable part; None if no part of the interval has been offloaded.
        hot, cold: how many rows each tier holds of the offloaded part, including those that TTL may be deleting.
        ahead: how many rows past the watermark the job would offload.
    """

    verdict: Verdict | None
    hot: int
    cold: int
    ahead: int

    @property
    def needs_work(self) -> bool:
        """Whether the tiers may differ. Rows that TTL may be deleting right now can only be compared by the job."""
        if self.ahead:
            return True
        return self.verdict is not None and not (self.verdict.equal and self.hot == self.verdict.hot.rows)


@dataclass(frozen=True)
class _Outcome:
    """The result of the command.

    Attributes:
        before: the interval before the job.
        verdict: the last comparison; None if no part of the interval has been offloaded.
        started: whether the job was started.
    """

    before: _Before
    verdict: Verdict | None
    started: bool

    @property
    def equal(self) -> bool:
        """Whether both tiers hold the same rows, as far as the last comparison shows."""
        return self.verdict is None or self.verdict.equal

    def to_json(self) -> Fields:
        """The fields of the result."""
        return {
            "started": self.started,
            "hot_rows_before": self.before.hot,
            "cold_rows_before": self.before.cold,
            "rows_ahead_before": self.before.ahead,
            "hot_rows": self.verdict.hot.rows if self.verdict else 0,
            "cold_rows": self.verdict.cold.rows if self.verdict else 0,
            "equal": self.equal,
        }


def _reprocess(
    mode: RunMode, context: Context, name: str, interval: Interval, *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    table, console = context.one(name), Console(as_json)
    before = _inspect(mode, context, table, interval)
    _print_plan(console, mode, table, interval, before)
    outcome = _Outcome(before, before.verdict, started=False)
    if before.needs_work and dry_run:
        console.echo("Dry run: nothing was changed.")
    elif before.needs_work:
        confirm(f"Run the Spark job in mode {mode.value} for {table.name}?", yes=yes)
        outcome = _run(mode, context, table, interval, before, console)
    scope: Fields = {"table": table.name, "mode": mode.value, "from": interval.start, "to": interval.end}
    console.result({**scope, "dry_run": dry_run, **outcome.to_json()})
    if not outcome.equal or (dry_run and before.needs_work):
        raise typer.Exit(EXIT_DIFFERENT)


def _run(
    mode: RunMode, context: Context, table: TableConfig, interval: Interval, before: _Before, console: Console
) -> _Outcome:
    """Run the Spark job and compare both tiers again."""
    run_job(_arguments(mode, context, table, interval), context.connections, console.log)
    after = _inspect(mode, context, table, interval).verdict
    if after is not None:
        rows = f"ClickHouse {after.hot.rows:,} rows, Iceberg {after.cold.rows:,}"
        console.echo(f"{table.name}: {rows}: {_verdict_text(after)}.")
    return _Outcome(before, after, started=True)


def _inspect(mode: RunMode, context: Context, table: TableConfig, interval: Interval) -> _Before:
    """Plan as the job does, compare the part behind the watermark and count the rows past it.

    Raises:
        RepairInstead: the mode is restate, and Iceberg would lose rows.
    """
    with context.ledger() as ledger, context.clickhouse() as client:
        watermark = ledger.watermark(table.name)
        progress = ledger.progress(table.name, watermark)
        now = parse_time(client.rows(NOW)[0]["now"])
        buffer = timedelta(minutes=context.settings.buffer_minutes)
        plan = plan_run(mode, interval.start, interval.end, progress, now, buffer)
        ahead = rows_in(client, table, plan.ahead) if plan.ahead else 0
        if plan.behind is None:
            return _Before(None, 0, 0, ahead)
        hot, cold = count_both_tiers(client, context.connections, table, watermark.cursor, plan.behind)
        verdict = verify(client, context.connections, table, watermark.cursor, plan.behind)
        if mode is RunMode.RESTATE:
            planned = Restate(table.name, plan.behind, verdict.start, has_rows=bool(hot))
            _require_all_rows(client, context, table, watermark.cursor, planned)
        return _Before(verdict, hot, cold, ahead)


def _require_all_rows(
    client: ClickHouse, context: Context, table: TableConfig, watermark: Cursor, planned: Restate
) -> None:
    """Check, as the job will, that the restate loses no row of Iceberg.

    Raises:
        RepairInstead: it would.
    """
    if planned.expired is None:
        return
    _, cold = count_both_tiers(client, context.connections, table, watermark, planned.expired)
    if cold:
        raise planned.refusal(f"{cold:,} rows of Iceberg")


def _print_plan(console: Console, mode: RunMode, table: TableConfig, interval: Interval, before: _Before) -> None:
    console.echo(f"{table.name} {interval}:")
    if before.verdict is None:
        console.echo("  No part of it has been offloaded yet.")
    else:
        rows = f"ClickHouse holds {before.hot:,} rows, Iceberg {before.cold:,}"
        console.echo(f"  {rows}: {_verdict_text(before.verdict)}.")
        if before.hot > before.verdict.hot.rows:
            console.echo(
                f"  {before.hot - before.verdict.hot.rows:,} of ClickHouse's rows are so old that TTL may be deleting "
                "them now. Only the job can compare them, by key."
            )
    if not before.needs_work:
        console.echo("  There is nothing to do.")
    elif mode is RunMode.RESTATE:
        console.echo(f"  {before.cold:,} rows of Iceberg would be REPLACED by {before.hot:,} rows of ClickHouse.")
    if before.ahead:
        console.echo(f"  {before.ahead:,} rows past the watermark would be offloaded as well.")


def _verdict_text(verdict: Verdict) -> str:
    if verdict.equal:
        return "equal"
    if verdict.hot.rows == verdict.cold.rows:
        return "DIFFERENT values"
    return "DIFFERENT"


def _arguments(mode: RunMode, context: Context, table: TableConfig, interval: Interval) -> JobArguments:
    started = datetime.now(timezone.utc)
    return JobArguments(
        table,
        context.settings,
        interval.end,
        run_id=f"{mode.value}__{started.isoformat(timespec='seconds')}",
        interval_start=interval.start,
        mode=mode,
    )
