"""The tasks of the audit: compare both tiers of a table, have repaired what came late, and look again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

from offload_airflow.compat.context import task_states
from offload_airflow.compat.sdk import AirflowFailException, AirflowSkipException, BaseOperator, Context
from offload_airflow.config.tables import find_table
from offload_airflow.hooks.connections import load_connections
from offload_airflow.hooks.mixin import Configured
from offload_airflow.notify.failures import airflow_failures
from offload_airflow.operators.offload_submit import OffloadSubmitOperator
from offload_core.config.tables import TableConfig
from offload_core.errors import OffloadError
from offload_core.jobs.arguments import JobArguments
from offload_core.ledger.session import connect
from offload_core.protocol.plan import RunMode

if TYPE_CHECKING:
    from offload_ops.audit.compare import TableAudit, WindowAudit

_REPAIR, _DIFFERS, _LATE_ROWS = "repair", "differs", "late_rows"
"""What an audit task leaves for those behind it: the interval to repair, whether anything differs, and how many rows were late."""


class AuditTableOperator(Configured, BaseOperator):
    """Compares one table's tiers hour by hour, logs the windows, and records them in `offload_audits`.

    What came late is left to the repair behind it, and the rest to the look after that. Where Iceberg has lost rows the table is halted
    at once.

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
            OffloadError: a server can't be reached; the next attempt may do better.
        """
        with airflow_failures(self.log, f"audit of {self.table}"):
            audit = self.audited(context)
            repair = audit.to_repair
            span = [repair[0].start.isoformat(), repair[-1].end.isoformat()] if repair else None
            for key, value in ((_REPAIR, span), (_DIFFERS, not audit.is_equal), (_LATE_ROWS, audit.late_rows)):
                context["ti"].xcom_push(key, value)

    def audited(self, context: Context) -> TableAudit:
        """The table's audit, logged and recorded; where rows were lost, the table is halted, and that is raised."""
        table = find_table(self.table)
        if table is None:
            raise AirflowSkipException(f"{self.table} has been disabled or removed from the configuration.")
        audit = self._audit(table, context["run_id"])
        self.log.info("%-16s  %12s  %12s  finding", "from (UTC)", "ClickHouse", "Iceberg")
        for audited in audit.windows:
            rows = f"{audited.hot.rows:>12,}  {audited.cold.rows:>12,}"
            self.log.info("%s  %s  %s", f"{audited.window.start:%Y-%m-%d %H:%M}", rows, told(audited))
        self.log.info(
            "%s: %s windows in %.1f s: %s", table.name, len(audit.windows), audit.seconds, audit.finding.value
        )
        if audit.loss is not None:
            self._halt(context, audit.loss)
            raise audit.loss
        return audit

    def _audit(self, table: TableConfig, run_id: str) -> TableAudit:
        # They take long to import, which parsing must not.
        from offload_core.source.clickhouse import ClickHouse
        from offload_ops.audit.compare import Auditor, audit_table

        connections = load_connections(self.settings)
        client = ClickHouse(
            connections.clickhouse,
            timeout_seconds=self.settings.clickhouse_timeout_seconds,
            settings=self.settings.clickhouse_settings,
        )
        with closing(client), connect(connections.postgres, "offload audit") as session:
            return audit_table(Auditor(client, connections, session, self.settings), table, run_id)

    def _halt(self, context: Context, loss: OffloadError) -> None:
        with self.ledger.open() as ledger:
            if self.table not in ledger.halts():
                run_id, attempt = context["run_id"], context["ti"].try_number
                ledger.record_failure(self.table, loss.kind, str(loss), run_id=run_id, attempt=attempt, halt=True)


class RepairAuditedOperator(OffloadSubmitOperator):
    """Submits the offload's job in mode `repair` for the interval that a table's audit found late rows in; skipped where there is none.

    Args:
        audit: id of the audit's task.
    """

    def __init__(self, *, audit: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.audit = audit

    def job_arguments(self, context: Context, table: TableConfig) -> JobArguments:
        """The table and the interval."""
        span = context["ti"].xcom_pull(task_ids=self.audit, key=_REPAIR)
        if not span:
            raise AirflowSkipException(f"No late rows of {table.name} to insert.")
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
    """Audits a table again if its first audit found a difference, and fails where one is left that no repair mends.

    Args:
        audit: id of the first audit's task.
    """

    def __init__(self, *, audit: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.audit = audit

    def execute(self, context: Context) -> None:
        """Audit the table once more.

        Raises:
            AirflowSkipException: there was no difference.
            AirflowFailException: the tiers differ in a way that somebody has to judge; the message says how and where.
            OffloadError: a server can't be reached.
        """
        if not context["ti"].xcom_pull(task_ids=self.audit, key=_DIFFERS):
            raise AirflowSkipException(f"Both tiers of {self.table} held the same rows.")
        with airflow_failures(self.log, f"audit of {self.table}"):
            audit = self.audited(context)
            # What came late only now is the next audit's.
            late = {
                audited.window
                for audited in audit.windows
                for span in audit.to_repair
                if span.start <= audited.window.start < span.end
            }
            left = [audited.explanation for audited in audit.differing if audited.window not in late]
            if left:
                raise AirflowFailException(" ".join(left))


class CloseAuditOperator(BaseOperator):
    """Logs what every table's audit found, and fails if a task failed, so that the run as a whole is seen to have failed.

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


def told(audited: WindowAudit) -> str:
    """A window's finding, and why."""
    return f"{audited.finding.value} {audited.explanation}".strip()
