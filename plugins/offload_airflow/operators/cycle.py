"""The first and the last task of a cycle: one logs that it started, the other what happened to every table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from offload_airflow.compat.context import (
    adopt_backfills,
    data_interval,
    ensure_pool,
    load_notes,
    next_run_after,
    run_started,
    task_states,
)
from offload_airflow.compat.sdk import AirflowFailException, BaseOperator, Context
from offload_airflow.config.tables import load_tables
from offload_airflow.hooks.mixin import OffloadSettingsMixin
from offload_airflow.notify.failures import airflow_failures
from offload_airflow.operators.cycle_summary import TableTasks, completed_line, outcomes
from offload_airflow.requests.run import RunRequest, require_valid, run_request
from offload_core.config.settings import POOL_DESCRIPTION, POOL_SLOTS
from offload_core.ledger.tables import TableRegister


class OpenCycleOperator(OffloadSettingsMixin, BaseOperator):
    """Logs the start of a cycle and what the run was triggered with. It fails if that makes no sense.

    It creates the Spark tasks' pool if it is missing, because they would wait for it forever. It hands runs that
    backfills have left behind to the scheduler, which ignores them otherwise. It records for the metrics exporter which
    tables are switched on.

    Args:
        tables: names of the run's tables.
    """

    ui_color = "#eaeded"

    def __init__(self, *, tables: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tables = tables

    def execute(self, context: Context) -> None:
        """Log `CYCLE STARTED`.

        Raises:
            AirflowFailException: the run's conf is wrong; the message names the field. Then no task of this run does
                anything.
        """
        with airflow_failures(self.log, "this run"):
            request = _valid_request(context)
        pool = self.settings.pool
        if ensure_pool(pool, POOL_SLOTS, POOL_DESCRIPTION):
            self.log.warning(
                "Created the missing pool %s with %s slots; change their number in Airflow.", pool, POOL_SLOTS
            )
        adopted = adopt_backfills(context, datetime.now(timezone.utc))
        if adopted:
            self.log.info("Handed %s runs of ended backfills to the scheduler.", adopted)
        self.log.info("CYCLE STARTED %s: %s tables: %s", context["run_id"], len(self.tables), ", ".join(self.tables))
        conf = request.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        if conf:
            self.log.info("This run was triggered with: %s", conf)
        self._record_tables()

    def _record_tables(self) -> None:
        try:
            with self.ledger.open_connection() as session:
                TableRegister(session, self.settings.pipeline_id).record(load_tables())
        except Exception as error:  # a cycle never fails because of its metrics
            self.log.warning("Could not record for the metrics exporter which tables are switched on: %s", error)


class CloseCycleOperator(OffloadSettingsMixin, BaseOperator):
    """Logs what happened to every table, and fails if any table failed, so that the whole run shows as failed.

    Args:
        tables: the run's tables and their tasks.
    """

    ui_color = "#eaeded"

    def __init__(self, *, tables: Sequence[TableTasks], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tables = tables

    def execute(self, context: Context) -> None:
        """Log the cycle's summary and when the next cycle starts.

        Raises:
            AirflowFailException: tables failed, and the message names them all; or the run's conf is wrong.
            OffloadError: the ledger can't be read.
        """
        with airflow_failures(self.log, "this run"):
            _valid_request(context)
        started = run_started(context)
        with self.ledger.open() as ledger:
            rows = ledger.rows_of_run(context["run_id"], since=started)
        notes = load_notes(context, [table.wait for table in self.tables])
        results = outcomes(self.tables, task_states(context), rows, notes)
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


def _valid_request(context: Context) -> RunRequest:
    request = run_request(context)
    require_valid(request, data_interval(context), load_tables())
    return request
