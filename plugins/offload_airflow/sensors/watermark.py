"""The sensor in front of each table's Spark job."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, NoReturn

from offload_airflow.compat.context import leave_note
from offload_airflow.compat.sdk import AirflowSkipException, BaseSensorOperator, Context
from offload_airflow.config.tables import find_entry
from offload_airflow.hooks.connections import load_connections
from offload_airflow.hooks.hot_tier import HotTierHook
from offload_airflow.hooks.mixin import Configured
from offload_airflow.notify.failures import airflow_failures, recorded_failures
from offload_airflow.requests.run import RunScope, run_request, run_scope
from offload_core.attempt_log import attempt_line
from offload_core.config.tables import InvalidTable, TableConfig
from offload_core.errors import RepairInterval, RestateInterval, WaitForOtherRun
from offload_core.ledger.ledger import Ledger, LedgerRow, Step
from offload_core.protocol.plan import RunMode, plan_run
from offload_core.protocol.window import Interval, Window
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.queries import NOW, any_row_query, driver_placeholder, parse_time, window_parameters
from offload_ops.tiers.verify import Verdict, verify


class WatermarkSensor(Configured, BaseSensorOperator):
    """Waits until a table's window is complete, and lets its Spark job run only if there is something for it to do.

    - The run is not about this table: skips.
    - ClickHouse's clock has not passed the end of the run's interval: not yet.
    - Rows past the watermark: ready. None: records an empty success, so that the lag clock starts again, and skips.
    - The interval lies behind the watermark (a cleared, backfilled or narrowed run): compares it on both sides. Equal: skips, and
      neither the ledger nor Iceberg is touched. Different: ready, or, where the run shall only verify, fails.
    - The interval shall be restated: ready.

    A server that can't be reached is a failure, never a skip.

    Args:
        table: the table's short name; its entry is read when the task runs.
    """

    template_fields: Sequence[str] = ("table",)
    ui_color = "#e8f4f8"

    def __init__(self, *, table: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = table

    @cached_property
    def hot_tier(self) -> HotTierHook:
        """ClickHouse."""
        return HotTierHook(
            clickhouse_conn_id=self.settings.clickhouse_conn_id,
            timeout_seconds=self.settings.clickhouse_timeout_seconds,
        )

    def poke(self, context: Context) -> bool:
        """Whether the Spark job shall run now.

        Raises:
            AirflowSkipException: there is nothing for it to do.
            AirflowFailException: an error that stays until somebody changes something.
            OffloadError: an error that the next attempt may not meet.
        """
        with airflow_failures(self.log, self.table):
            scope = run_scope(context)
            table = self._wanted(context)
            run_id, attempt = context["run_id"], context["ti"].try_number
            with (
                self.ledger.open() as ledger,
                recorded_failures(ledger, self.log, table.name, run_id=run_id, attempt=attempt),
            ):
                found = self._look(ledger, table, scope, run_id, attempt)
            if isinstance(found, _Nothing):
                self._end_early(context, found.note, found.reason)
            if isinstance(found, Verdict):
                self._refuse(context, found)
            return found

    def _wanted(self, context: Context) -> TableConfig:
        """The table's entry, if the run is about it."""
        table = find_entry(self.table)
        if table is None:
            self._end_early(context, "disabled", f"{self.table} has been disabled or removed from the configuration.")
        if not run_request(context).selects(table):
            self._end_early(context, "not selected", f"This run's conf does not select {self.table}.")
        if isinstance(table, InvalidTable):
            raise table.error()
        return table

    def _look(
        self, ledger: Ledger, table: TableConfig, scope: RunScope, run_id: str, attempt: int
    ) -> bool | _Nothing | Verdict:
        """Ready or not yet; or why there is nothing to do; or, where the run shall only verify, how the sides differ."""
        started = time.monotonic()
        watermark = ledger.watermark(table.name)
        now = parse_time(self.hot_tier.first_value(NOW))
        if scope.complete_at is not None and now < scope.complete_at:
            self.log.info("ClickHouse's clock says %s: the interval ends at %s.", now, scope.complete_at)
            return False
        buffer = timedelta(minutes=self.settings.buffer_minutes)
        plan = plan_run(scope.mode, scope.start, scope.end, ledger.progress(table.name, watermark), now, buffer)
        if plan.ahead is not None and self._has_rows(table, plan.ahead):
            return True
        if plan.behind is not None:
            return scope.mode is RunMode.RESTATE or self._compare(table, watermark, plan.behind, scope.mode)
        if plan.ahead is None or scope.mode is not RunMode.OFFLOAD:
            moves = scope.mode in (RunMode.OFFLOAD, RunMode.REPAIR)
            note = "No new data to offload" if moves else "nothing offloaded there yet"
            return _Nothing(note, f"{note}: the watermark of {table.name} is {watermark.cursor}.")
        step = _empty(watermark, plan.ahead, run_id, attempt, time.monotonic() - started)
        return self._record_empty(ledger, table, watermark, step)

    def _has_rows(self, table: TableConfig, window: Window) -> bool:
        if self.hot_tier.first_value(any_row_query(table, driver_placeholder), window_parameters(window)) is None:
            return False
        self.log.info("%s has new rows in %s.", table.name, window)
        return True

    def _compare(
        self, table: TableConfig, watermark: LedgerRow, interval: Interval, mode: RunMode
    ) -> bool | _Nothing | Verdict:
        connections = load_connections(self.settings)
        client = ClickHouse(
            connections.clickhouse,
            timeout_seconds=self.settings.clickhouse_timeout_seconds,
            settings=self.settings.clickhouse_settings,
        )
        with closing(client):
            verdict = verify(client, connections, table, watermark.cursor, interval)
        if verdict.start is None or verdict.start > interval.last:
            return _Nothing(
                "no longer in ClickHouse", f"ClickHouse no longer holds {table.name} in {interval}: nothing to compare."
            )
        if verdict.equal:
            note = f"verified, {verdict.hot.rows:,} rows equal"
            return _Nothing(note, f"{table.name} in {interval}: {note}; nothing to do.")
        self.log.info("%s", _difference(verdict))
        return verdict if mode is RunMode.VERIFY else True

    def _record_empty(self, ledger: Ledger, table: TableConfig, watermark: LedgerRow, step: Step) -> bool | _Nothing:
        try:
            # A run by hand may be at work on this table: what it publishes must follow the row it started from.
            with ledger.locked(table.name, wait_seconds=0):
                ledger.append(watermark, step)
        except WaitForOtherRun as error:
            self.log.info("%s", error)
            return False
        self.log.info("%s", _line(table, step))
        return _Nothing("No new data to offload", f"No new data to offload: {table.name} has no row in {step.window}.")

    def _end_early(self, context: Context, note: str, reason: str) -> NoReturn:
        leave_note(context, note)
        raise AirflowSkipException(reason)

    def _refuse(self, context: Context, verdict: Verdict) -> NoReturn:
        """The end of a run that only verifies: the difference is its result, not a failed offload, so the ledger counts none."""
        difference = _difference(verdict)
        leave_note(context, difference)
        if verdict.hot.rows > verdict.cold.rows:
            raise RepairInterval(difference, "Run the same interval with mode repair, which inserts what is missing.")
        raise RestateInterval(difference, "Run the same interval with mode restate, which replaces it.")


@dataclass(frozen=True)
class _Nothing:
    """There is nothing to do: in a few words for the run's summary, and as a sentence for the log."""

    note: str
    reason: str


def _difference(verdict: Verdict) -> str:
    return f"{verdict.table} differs in {verdict.interval}: ClickHouse has {verdict.hot}, Iceberg has {verdict.cold}."


def _line(table: TableConfig, step: Step) -> str:
    window = (step.window.lower.timestamp, step.window.upper) if step.window else (None, None)
    return attempt_line(table.name, step.run_id, step.attempt, "empty", window=window, rows=0, seconds=step.seconds)


def _empty(watermark: LedgerRow, window: Window, run_id: str, attempt: int, seconds: float) -> Step:
    """A success without rows: everything but the lag clock stays as it was."""
    return Step(
        kind="empty",
        cursor=watermark.cursor,
        generation=watermark.generation,
        source_uuid=watermark.source_uuid,
        window=window,
        run_id=run_id,
        attempt=attempt,
        seconds=seconds,
    )
