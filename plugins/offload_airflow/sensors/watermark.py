"""The sensor in front of each table's Spark job."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from functools import cached_property, partial
from typing import Any, NoReturn

from offload_airflow.compat.context import data_interval, save_note
from offload_airflow.compat.sdk import AirflowSkipException, BaseSensorOperator, Context
from offload_airflow.config.tables import find_entry
from offload_airflow.hooks.connections import load_connections
from offload_airflow.hooks.hot_tier import HotTierHook
from offload_airflow.hooks.mixin import OffloadSettingsMixin
from offload_airflow.notify.failures import airflow_failures, recorded_failures
from offload_airflow.requests.run import RunRequest, RunScope, run_request, run_scope
from offload_core.attempt_log import attempt_line
from offload_core.config.tables import InvalidTable, TableConfig
from offload_core.errors import WaitForOtherRun
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.rows import LedgerRow, Step
from offload_core.protocol.decision import Decision, Differs, Run, Skip, Wait, decide
from offload_core.protocol.plan import plan_run
from offload_core.protocol.window import Cursor, Interval, Window
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.queries import NOW, any_row_query, driver_placeholder, parse_time, window_parameters
from offload_ops.tiers.verify import Verdict, verify


class WatermarkSensor(OffloadSettingsMixin, BaseSensorOperator):
    """Waits until a table's window is complete, and lets its Spark job run only if the job has something to do.

    - The run does not select the table: skips.
    - ClickHouse's clock has not reached the end of the run's interval: waits.
    - There are rows past the watermark: runs. There are none: records an empty success, so that the lag clock restarts,
      and skips.
    - The interval lies behind the watermark (a run that was cleared, backfilled or triggered for it): compares both
      tiers. If they are equal, it skips and changes nothing. If they differ, it runs, or fails in mode `verify`.
    - The interval is to be restated: runs.

    A server that can't be reached is a failure, never a reason to skip.

    Args:
        table: the table's short name. Its entry is read when the task runs.
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
        """Whether the Spark job should run now; False: not yet.

        Raises:
            AirflowSkipException: the job has nothing to do.
            AirflowFailException: an error that stays until somebody changes something.
            OffloadError: an error that the next attempt may not meet.
        """
        with airflow_failures(self.log, self.table):
            request = run_request(context)
            scope = run_scope(request, data_interval(context))
            table = self._selected_table(context, request)
            run_id, attempt = context["run_id"], context["ti"].try_number
            with (
                self.ledger.open() as ledger,
                recorded_failures(ledger, self.log, table.name, run_id=run_id, attempt=attempt),
            ):
                decision = self._decide(ledger, table, scope, run_id, attempt)
            # Outside the block: a difference that mode `verify` finds is a result, not a failure for the ledger.
            return self._act(context, decision)

    def _selected_table(self, context: Context, request: RunRequest) -> TableConfig:
        """The table's entry, if the run selects it."""
        table = find_entry(self.table)
        if table is None:
            self._skip_table(context, "disabled", f"{self.table} has been disabled or removed from the configuration.")
        if not request.selects(table):
            self._skip_table(context, "not selected", f"This run's conf does not select {self.table}.")
        if isinstance(table, InvalidTable):
            raise table.error()
        return table

    def _decide(self, ledger: Ledger, table: TableConfig, scope: RunScope, run_id: str, attempt: int) -> Decision:
        started = time.monotonic()
        watermark = ledger.watermark(table.name)
        now = parse_time(self.hot_tier.first_value(NOW))
        if scope.complete_at is not None and now < scope.complete_at:
            return Wait(f"ClickHouse's clock says {now}: the interval ends at {scope.complete_at}.")
        buffer = timedelta(minutes=self.settings.buffer_minutes)
        plan = plan_run(scope.mode, scope.start, scope.end, ledger.progress(table.name, watermark), now, buffer)
        decision = decide(
            table.name,
            scope.mode,
            plan,
            watermark.cursor,
            has_rows=partial(self._has_rows, table),
            compare=partial(self._compare, table, watermark.cursor),
        )
        if isinstance(decision, Skip) and decision.empty is not None:
            step = Step.empty(
                watermark,
                decision.empty,
                source_uuid=watermark.source_uuid,
                run_id=run_id,
                attempt=attempt,
                seconds=time.monotonic() - started,
            )
            return self._record_empty(ledger, watermark, step) or decision
        return decision

    def _act(self, context: Context, decision: Decision) -> bool:
        match decision:
            case Skip():
                self._skip_table(context, decision.note, decision.reason)
            case Differs():
                save_note(context, decision.difference)
                raise decision.error()
            case Run() | Wait():
                self.log.info("%s", decision.reason)
        return isinstance(decision, Run)

    def _has_rows(self, table: TableConfig, window: Window) -> bool:
        query = any_row_query(table, driver_placeholder)
        return self.hot_tier.first_value(query, window_parameters(window)) is not None

    def _compare(self, table: TableConfig, watermark: Cursor, interval: Interval) -> Verdict:
        connections = load_connections(self.settings)
        with closing(ClickHouse.from_settings(connections.clickhouse, self.settings)) as client:
            return verify(client, connections, table, watermark, interval)

    def _record_empty(self, ledger: Ledger, watermark: LedgerRow, step: Step) -> Wait | None:
        """Record a window without rows. Returns `Wait` if another run holds the table's lock."""
        try:
            # A triggered run may be working on the table. Whatever it publishes must follow the row it started from.
            with ledger.locked(watermark.table_name, wait_seconds=0):
                ledger.append(watermark, step)
        except WaitForOtherRun as error:
            return Wait(str(error))
        self.log.info("%s", _attempt_line(watermark.table_name, step))
        return None

    def _skip_table(self, context: Context, note: str, reason: str) -> NoReturn:
        save_note(context, note)
        raise AirflowSkipException(reason)


def _attempt_line(table: str, step: Step) -> str:
    window = (step.window.lower.timestamp, step.window.upper) if step.window else (None, None)
    return attempt_line(table, step.run_id, step.attempt, "empty", window=window, rows=0, seconds=step.seconds)
