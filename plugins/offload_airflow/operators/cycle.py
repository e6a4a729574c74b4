"""The two tasks that frame a cycle: the first says that it started, the last what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from offload_airflow.compat.context import adopt_backfills, ensure_pool, next_run_after, notes, run_started, task_states
from offload_airflow.compat.sdk import AirflowFailException, BaseOperator, Context
from offload_airflow.config.tables import load_tables
from offload_airflow.hooks.mixin import Configured
from offload_airflow.notify.failures import airflow_failures
from offload_airflow.operators.cycle_summary import TableTasks, completed_line, outcomes
from offload_airflow.requests.run import require_sound, run_request
from offload_core.config.settings import POOL_DESCRIPTION, POOL_SLOTS
from offload_core.ledger.tables import TableRegister


class OpenCycleOperator(Configured, BaseOperator):
    """Logs the start of a cycle, and what it was asked for; a request that makes no sense ends the run here.

    Makes the Spark tasks' pool if it is missing, for which they would wait for ever, and gives the scheduler the runs that backfills
    have left behind, which it would never look at again. Tells the metrics exporter which tables are switched on.

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
            AirflowFailException: the run's conf is wrong; the message names the field. No task of this run does anything then.
        """
        with airflow_failures(self.log, "this run"):
            require_sound(context, load_tables())
        pool = self.settings.pool
        if ensure_pool(pool, POOL_SLOTS, POOL_DESCRIPTION):
            self.log.warning(
                "Created the missing pool %s with %s slots; change their number in Airflow.", pool, POOL_SLOTS
            )
        adopted = adopt_backfills(context, datetime.now(timezone.utc))
        if adopted:
            self.log.info("Runs of backfills that have ended, given to the scheduler: %s", adopted)
        self.log.info("CYCLE STARTED %s: %s tables: %s", context["run_id"], len(self.tables), ", ".join(self.tables))
        asked = run_request(context).model_dump(mode="json", by_alias=True, exclude_defaults=True)
        if asked:
            self.log.info("This run was asked for: %s", asked)
        self._tell_the_exporter()

    def _tell_the_exporter(self) -> None:
        try:
            with self.ledger.open_session() as session:
                TableRegister(session, self.settings.pipeline_id).tell(load_tables())
        except Exception as error:  # no cycle fails for its metrics (R75)
            self.log.warning("The metrics exporter can't be told which tables are switched on: %s", error)


class CloseCycleOperator(Configured, BaseOperator):
    """Logs what became of every table, and fails if any failed, so that the run as a whole is seen to have failed.

    Args:
        tables: the run's tables and their tasks.
    """

    ui_color = "#eaeded"

    def __init__(self, *, tables: Sequence[TableTasks], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tables = tables

    def execute(self, context: Context) -> None:
        """Log the cycle's summary and when the next one starts.

        Raises:
            AirflowFailException: a table failed, and the message names them all; or the run's conf is wrong.
            OffloadError: the ledger can't be read.
        """
        with airflow_failures(self.log, "this run"):
            require_sound(context, load_tables())
        started = run_started(context)
        with self.ledger.open() as ledger:
            rows = ledger.rows_of_run(context["run_id"], since=started)
        said = notes(context, [table.wait for table in self.tables])
        results = outcomes(self.tables, task_states(context), rows, said)
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
