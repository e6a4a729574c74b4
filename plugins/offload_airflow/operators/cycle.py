"""The two tasks that frame a cycle: the first says that it started, the last what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from offload_airflow.compat import (
    AirflowFailException,
    BaseOperator,
    Context,
    ensure_pool,
    next_run_after,
    run_started,
    task_states,
)
from offload_airflow.cycle import TableTasks, completed_line, outcomes
from offload_airflow.hooks.ledger import LedgerHook
from offload_airflow.table_configs import load_settings
from offload_core.table_config import Settings

_POOL_SLOTS = 2


class OpenCycleOperator(BaseOperator):
    """Logs the start of a cycle, and makes the Spark tasks' pool if it is missing: they would wait for it for ever.

    Args:
        tables: names of the run's tables.
    """

    ui_color = "#eaeded"

    def __init__(self, *, tables: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tables = tables

    def execute(self, context: Context) -> None:
        """Log `CYCLE STARTED`."""
        pool = load_settings().pool
        if ensure_pool(pool, _POOL_SLOTS, "Spark jobs of the Iceberg offload that run at once"):
            self.log.warning(
                "Created the missing pool %s with %s slots; change their number in Airflow.", pool, _POOL_SLOTS
            )
        self.log.info("CYCLE STARTED %s: %s tables: %s", context["run_id"], len(self.tables), ", ".join(self.tables))


class CloseCycleOperator(BaseOperator):
    """Logs what became of every table, and fails if any failed, so that the run as a whole is seen to have failed.

    Args:
        tables: the run's tables and their tasks.
    """

    ui_color = "#eaeded"

    def __init__(self, *, tables: Sequence[TableTasks], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tables = tables

    @cached_property
    def settings(self) -> Settings:
        """The settings as they are when the task runs."""
        return load_settings()

    @cached_property
    def ledger(self) -> LedgerHook:
        """PostgreSQL."""
        return LedgerHook(postgres_conn_id=self.settings.postgres_conn_id, pipeline_id=self.settings.pipeline_id)

    def execute(self, context: Context) -> None:
        """Log the cycle's summary and when the next one starts.

        Raises:
            AirflowFailException: a table failed; the message names them all.
            OffloadError: the ledger can't be read.
        """
        started = run_started(context)
        with self.ledger.open() as ledger:
            rows = ledger.rows_of_run(context["run_id"], since=started)
        results = outcomes(self.tables, task_states(context), rows)
        for result in results:
            self.log.info("%s", result.line())
        self.log.info("%s", completed_line(results, started, datetime.now(timezone.utc)))
        following = next_run_after(context)
        self.log.info(
            "Next run: %s", following.isoformat(sep=" ", timespec="seconds") if following else "not scheduled"
        )
        failed = [result.table for result in results if result.problem is not None]
        if failed:
            raise AirflowFailException(f"{len(failed)} of {len(results)} tables failed: {', '.join(failed)}.")
