"""Commands that work on an interval again: `repair` and `restate`. They compare first, and start Spark only if there is something to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import typer

from offload_core.config.tables import TableConfig
from offload_core.errors import RepairInstead
from offload_core.jobs.arguments import JobArguments
from offload_core.jobs.spark_run import run_job
from offload_core.protocol.plan import RunMode, plan_run
from offload_core.protocol.window import Cursor, Interval
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.queries import NOW, parse_time
from offload_core.source.row_counts import rows_in
from offload_ops.cli.context import (
    EXIT_DIFFERENT,
    Context,
    DryRun,
    From,
    Json,
    Speaker,
    Table,
    To,
    Yes,
    ask,
    context_of,
    parse_interval,
)
from offload_ops.tiers.verify import Verdict, held_rows, verify


def repair(
    ctx: typer.Context,
    table: Table,
    start: From,
    end: To,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Insert what Iceberg lacks of an interval, after comparing both tiers; equal ones are left alone.

    Nothing is changed or deleted in Iceberg. Rows past the watermark are offloaded too, if the interval reaches that far. Runs the Spark
    job here (master: OFFLOAD_SPARK_MASTER, default local[*]) and needs no running Airflow; beside one, the table's lock keeps the two
    apart. Exit status 1 if both tiers differ: in a dry run before, else afterwards.
    """
    _rework(RunMode.REPAIR, context_of(ctx), table, parse_interval(start, end), dry_run, yes, as_json)


def restate(
    ctx: typer.Context,
    table: Table,
    start: From,
    end: To,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Replace an offloaded interval in Iceberg by what ClickHouse holds now, in one commit; says first how many rows go and come.

    For rows that were corrected or deleted in ClickHouse. Refused where ClickHouse's TTL has taken rows that Iceberg still has: these would
    be lost. Runs the Spark job here, as `repair` does. Exit status 1 if both tiers differ: in a dry run before, else afterwards.
    """
    _rework(RunMode.RESTATE, context_of(ctx), table, parse_interval(start, end), dry_run, yes, as_json)


@dataclass(frozen=True)
class _Before:
    """An interval before it is worked on.

    Attributes:
        verdict: the comparison of the part that can be compared; None if no part of it has been offloaded.
        hot, cold: rows that each tier holds of the offloaded part, TTL or not.
        ahead: rows past the watermark that the run would offload.
    """

    verdict: Verdict | None
    hot: int
    cold: int
    ahead: int

    @property
    def nothing_to_do(self) -> bool:
        """Whether both tiers are known to agree: rows that TTL may be taking right now are only seen by the job."""
        if self.ahead:
            return False
        return self.verdict is None or (self.verdict.equal and self.hot == self.verdict.hot.rows)


def _rework(
    mode: RunMode, context: Context, name: str, interval: Interval, dry_run: bool, yes: bool, as_json: bool
) -> None:
    table, speaker = context.one(name), Speaker(as_json)
    before = _look(mode, context, table, interval)
    _tell(speaker, mode, table, interval, before)
    after: Verdict | None = before.verdict
    is_started = False
    if not before.nothing_to_do and not dry_run:
        ask(f"Run the Spark job in mode {mode.value} for {table.name}?", yes=yes)
        is_started = True
        run_job(_arguments(mode, context, table, interval), context.connections, speaker.log)
        after = _look(mode, context, table, interval).verdict
        if after is not None:
            speaker.say(
                f"{table.name}: ClickHouse {after.hot.rows:,} rows, Iceberg {after.cold.rows:,}: {_word(after)}."
            )
    elif dry_run and not before.nothing_to_do:
        speaker.say("Dry run: nothing was changed.")
    equal = after is None or after.equal
    speaker.result(
        {
            "table": table.name,
            "mode": mode.value,
            "from": interval.start,
            "to": interval.end,
            "dry_run": dry_run,
            "started": is_started,
            "hot_rows_before": before.hot,
            "cold_rows_before": before.cold,
            "rows_ahead_before": before.ahead,
            "hot_rows": after.hot.rows if after else 0,
            "cold_rows": after.cold.rows if after else 0,
            "equal": equal,
        }
    )
    if not equal or (dry_run and not before.nothing_to_do):
        raise typer.Exit(EXIT_DIFFERENT)


def _look(mode: RunMode, context: Context, table: TableConfig, interval: Interval) -> _Before:
    """Plan as the job does, compare what lies behind the watermark and count the rest.

    Raises:
        RepairInstead: the mode is restate, and TTL has overtaken part of the interval.
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
        hot, cold = held_rows(client, context.connections, table, watermark.cursor, plan.behind)
        verdict = verify(client, context.connections, table, watermark.cursor, plan.behind)
        if mode is RunMode.RESTATE:
            _require_all_of(client, context, table, watermark.cursor, plan.behind, hot, verdict)
        return _Before(verdict, hot, cold, ahead)


def _require_all_of(
    client: ClickHouse,
    context: Context,
    table: TableConfig,
    watermark: Cursor,
    interval: Interval,
    hot: int,
    verdict: Verdict,
) -> None:
    """See, as the job will, that ClickHouse still holds whatever of the interval is in Iceberg.

    Raises:
        RepairInstead
    """
    since = verdict.start
    expired = interval.up_to(interval.last if since is None or not hot else since - timedelta(microseconds=1))
    if expired is None:
        return
    _, cold = held_rows(client, context.connections, table, watermark, expired)
    if cold:
        what = "no longer holds any row of it" if not hot else f"may have lost rows from before {since} to its TTL"
        raise RepairInstead(
            f"{table.name} can't be restated in {interval}: ClickHouse {what}, and {cold:,} rows of Iceberg's would be lost.",
            "Restate only a later interval, or use `offload repair`, which only inserts what is missing.",
        )


def _tell(speaker: Speaker, mode: RunMode, table: TableConfig, interval: Interval, before: _Before) -> None:
    speaker.say(f"{table.name} {interval}:")
    if before.verdict is None:
        speaker.say("  No part of it has been offloaded yet.")
    else:
        speaker.say(f"  ClickHouse holds {before.hot:,} rows, Iceberg {before.cold:,}: {_word(before.verdict)}.")
        if before.hot > before.verdict.hot.rows:
            speaker.say(
                f"  {before.hot - before.verdict.hot.rows:,} of ClickHouse's rows are so old that TTL may be taking them: "
                "only the job can compare them, by key."
            )
    if before.nothing_to_do:
        speaker.say("  There is nothing to do.")
    elif mode is RunMode.RESTATE:
        speaker.say(f"  {before.cold:,} rows of Iceberg's would be REPLACED by {before.hot:,} of ClickHouse's.")
    if before.ahead:
        speaker.say(f"  {before.ahead:,} rows past the watermark would be offloaded as well.")


def _word(verdict: Verdict) -> str:
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
