"""The tasks of the audit: compare both tiers of a table, repair late rows, and compare again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

from offload_airflow.compat.context import task_states
from offload_airflow.compat.sdk import AirflowFailException, AirflowSkipException, BaseOperator, Context
from offload_airflow.config.tables import find_table
from offload_airflow.hooks.connections import load_connections
from offload_airflow.hooks.mixin import OffloadSettingsMixin
from offload_airflow.notify.failures import airflow_failures
from offload_airflow.operators.offload_submit import OffloadSubmitOperator
from offload_core.config.tables import TableConfig
from offload_core.errors import OffloadError
from offload_core.jobs.arguments import JobArguments
from offload_core.protocol.plan import RunMode

if TYPE_CHECKING:
    from offload_ops.audit.compare import TableAudit, WindowAudit

_REPAIR, _DIFFERS, _LATE_ROWS = "repair", "differs", "late_rows"
"""XComs of an audit task: the interval to repair, whether the tiers differ, and how many rows were late."""


class AuditTableOperator(OffloadSettingsMixin, BaseOperator):
    """Compares one table's tiers hour by hour, logs the windows, and records them in `offload_audits`.

    The task behind it repairs late rows, and the one behind that reports all other differences. If Iceberg has lost
    rows, the table is halted at once.

    Args:
        table: the table's short name.
    """

    template_fields: Sequence[str] = ("table",)
    ui_color = "#fcf3cf"

    def __init__(self, *, table: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = table

    def execute(self, context: Context) -> None:
        """Audit the table.

        Raises:
            AirflowSkipException: the table is switched off.
            AirflowFailException: Iceberg has lost rows; the table is halted.
            OffloadError: a server can't be reached; the next attempt may succeed.
        """
        with airflow_failures(self.log, f"audit of {self.table}"):
            audit = self.run_audit(context)
            repair = audit.to_repair
            span = [repair[0].start.isoformat(), repair[-1].end.isoformat()] if repair else None
            for key, value in ((_REPAIR, span), (_DIFFERS, not audit.is_equal), (_LATE_ROWS, audit.late_rows)):
                context["ti"].xcom_push(key, value)

    def run_audit(self, context: Context) -> TableAudit:
        """Audit the table, log the result and record it.

        Raises:
            AirflowSkipException: the table is switched off.
            OffloadError: Iceberg has lost rows, and the table is halted; or a server can't be reached.
        """
        table = find_table(self.table)
        if table is None:
            raise AirflowSkipException(f"{self.table} has been disabled or removed from the configuration.")
        audit = self._audit(table, context["run_id"])
        self.log.info("%-16s  %12s  %12s  finding", "from (UTC)", "ClickHouse", "Iceberg")
        for window in audit.windows:
            rows = f"{window.hot.rows:>12,}  {window.cold.rows:>12,}"
            self.log.info("%s  %s  %s", f"{window.window.start:%Y-%m-%d %H:%M}", rows, describe_window(window))
        self.log.info(
            "%s: %s windows in %.1f s: %s", table.name, len(audit.windows), audit.seconds, audit.finding.value
        )
        if audit.loss is not None:
            self._halt(context, audit.loss)
            raise audit.loss
        return audit

    def _audit(self, table: TableConfig, run_id: str) -> TableAudit:
        # Slow imports; the DAG file must parse fast.
        from offload_core.source.clickhouse import ClickHouse
        from offload_ops.audit.compare import Auditor, audit_table

        connections = load_connections(self.settings)
        client = ClickHouse.from_settings(connections.clickhouse, self.settings)
        with closing(client), self.ledger.open_connection("offload audit") as session:
            return audit_table(Auditor(client, connections, session, self.settings), table, run_id)

    def _halt(self, context: Context, loss: OffloadError) -> None:
        with self.ledger.open() as ledger:
            if self.table not in ledger.halts():
                run_id, attempt = context["run_id"], context["ti"].try_number
                ledger.record_failure(self.table, loss.kind, str(loss), run_id=run_id, attempt=attempt, halt=True)


class RepairAuditedOperator(OffloadSubmitOperator):
    """Submits the offload job in mode `repair` for the interval with late rows. Without late rows it is skipped.

    Args:
        audit: id of the audit task.
    """

    def __init__(self, *, audit: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.audit = audit

    def job_arguments(self, context: Context, table: TableConfig) -> JobArguments:
        """The table and the interval to repair."""
        span = context["ti"].xcom_pull(task_ids=self.audit, key=_REPAIR)
        if not span:
            raise AirflowSkipException(f"{table.name} has no late rows to insert.")
        start, end = map(datetime.fromisoformat, span)
        return JobArguments(
            table,
            self.settings,
            interval_start=start,
            interval_end=end,
            mode=RunMode.REPAIR,
            run_id=context["run_id"],
            attempt=context["ti"].try_number,
        )


class LookAgainOperator(AuditTableOperator):
    """Audits a table again if its first audit found a difference, and fails if an operator has to resolve it.

    Args:
        audit: id of the first audit task.
    """

    def __init__(self, *, audit: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.audit = audit

    def execute(self, context: Context) -> None:
        """Audit the table once more.

        Raises:
            AirflowSkipException: there was no difference.
            AirflowFailException: an operator has to decide about a difference; the message says how and where the tiers
                differ.
            OffloadError: a server can't be reached.
        """
        if not context["ti"].xcom_pull(task_ids=self.audit, key=_DIFFERS):
            raise AirflowSkipException(f"Both tiers of {self.table} held the same rows.")
        with airflow_failures(self.log, f"audit of {self.table}"):
            audit = self.run_audit(context)
            # Rows that have arrived since the first audit are left to the next one.
            late = {
                window.window
                for window in audit.windows
                for span in audit.to_repair
                if span.start <= window.window.start < span.end
            }
            left = [window.explanation for window in audit.differing if window.window not in late]
            if left:
                raise AirflowFailException(" ".join(left))


class CloseAuditOperator(BaseOperator):
    """Logs the result of every table's audit, and fails if a task failed, so that the whole run shows as failed.

    Args:
        tables: names of the run's tables by the ids of their audit tasks.
    """

    ui_color = "#eaeded"

    def __init__(self, *, tables: dict[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tables = tables

    def execute(self, context: Context) -> None:
        """Log one line per table.

        Raises:
            AirflowFailException: tasks failed, and the message names them all.
        """
        states = task_states(context)
        for task, table in self.tables.items():
            late = context["ti"].xcom_pull(task_ids=task, key=_LATE_ROWS)
            self.log.info("%s: %s", table, f"{states.get(task)}, late rows: {late or 0}")
        failed = [task for task, state in states.items() if state in ("failed", "upstream_failed")]
        if failed:
            raise AirflowFailException(f"{len(failed)} tasks failed: {', '.join(sorted(failed))}.")


def describe_window(window: WindowAudit) -> str:
    """A window's finding, and the reason."""
    return f"{window.finding.value} {window.explanation}".strip()
