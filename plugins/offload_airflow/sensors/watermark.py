"""The sensor in front of each table's Spark job."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from offload_airflow.compat import AirflowSkipException, BaseSensorOperator, Context, interval_end
from offload_airflow.failures import airflow_failures, recorded_failures
from offload_airflow.hooks.hot_tier import HotTierHook
from offload_airflow.hooks.ledger import LedgerHook
from offload_airflow.table_configs import find_table, load_settings
from offload_core.errors import WaitForOtherRun
from offload_core.ledger import Ledger, LedgerRow, Step
from offload_core.source_query import NOW, any_row_query, driver_placeholder, parse_time, window_parameters
from offload_core.table_config import Settings, TableConfig
from offload_core.window import Window, plan_window


class WatermarkSensor(BaseSensorOperator):
    """Waits until a table's window is complete, and lets its Spark job run only if there is something in it.

    - ClickHouse's clock has not passed the end of the run's interval: not yet.
    - Rows past the watermark: ready.
    - None: records an empty success, so that the lag clock starts again, and skips.
    - The interval lies behind the watermark (a cleared or backfilled run): skips and records nothing.

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
    def settings(self) -> Settings:
        """The settings as they are when the task runs."""
        return load_settings()

    @cached_property
    def hot_tier(self) -> HotTierHook:
        """ClickHouse."""
        return HotTierHook(
            clickhouse_conn_id=self.settings.clickhouse_conn_id,
            timeout_seconds=self.settings.clickhouse_timeout_seconds,
        )

    @cached_property
    def ledger(self) -> LedgerHook:
        """PostgreSQL."""
        return LedgerHook(postgres_conn_id=self.settings.postgres_conn_id, pipeline_id=self.settings.pipeline_id)

    def poke(self, context: Context) -> bool:
        """Whether the Spark job shall run now.

        Raises:
            AirflowSkipException: there is nothing for it to do.
            AirflowFailException: an error that stays until somebody changes something.
            OffloadError: an error that the next attempt may not meet.
        """
        with airflow_failures(self.log, self.table):
            table = find_table(self.table)
            if table is None:
                raise AirflowSkipException(f"{self.table} has been disabled or removed from the configuration.")
            run_id, attempt = context["run_id"], context["ti"].try_number
            with (
                self.ledger.open() as ledger,
                recorded_failures(ledger, self.log, table.name, run_id=run_id, attempt=attempt),
            ):
                return self._look(ledger, table, interval_end(context), run_id, attempt)

    def _look(self, ledger: Ledger, table: TableConfig, end: datetime | None, run_id: str, attempt: int) -> bool:
        started = time.monotonic()
        watermark = ledger.watermark(table.name)
        now = parse_time(self.hot_tier.first_value(NOW))
        if end is not None and now < end:
            self.log.info("ClickHouse's clock says %s: the interval ends at %s.", now, end)
            return False
        window = plan_window(watermark.cursor, now, end, timedelta(minutes=self.settings.buffer_minutes))
        if window.is_behind:
            raise AirflowSkipException(
                f"This run's interval ends at {window.upper}, behind the watermark {window.lower} of {table.name}: "
                "it has been offloaded before."
            )
        query = any_row_query(table, driver_placeholder)
        if self.hot_tier.first_value(query, window_parameters(window)) is not None:
            self.log.info("%s has new rows in %s.", table.name, window)
            return True
        try:
            # A run by hand may be at work on this table: what it publishes must follow the row it started from.
            with ledger.locked(table.name, wait_seconds=0):
                ledger.append(watermark, _empty(watermark, window, run_id, attempt, time.monotonic() - started))
        except WaitForOtherRun as error:
            self.log.info("%s", error)
            return False
        raise AirflowSkipException(f"No new data to offload: {table.name} has no row in {window}.")


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
