"""Notifies when a task has failed for good: after its last attempt, or at once if another attempt could not help."""

from __future__ import annotations

import logging
from datetime import datetime, timezone

from offload_airflow.compat.context import data_interval, failed_before
from offload_airflow.compat.sdk import Context
from offload_airflow.config.tables import load_settings
from offload_airflow.dag_ids import DAG_ID
from offload_airflow.notify.alerts import CALLBACK_SECONDS, notify, notify_all
from offload_core.errors import OffloadError
from offload_ops.table_state import Issue
from offload_ops.timeouts import run_with_timeout

log = logging.getLogger(__name__)


def table_failed(context: Context) -> None:
    """Notify that a table can't be offloaded, once per table and cause, or at once that it has been halted.

    It never raises and never takes long: whatever happens to the message, the run is not affected.
    """
    table = getattr(context["task"], "table", None)
    if table is None:
        return
    try:
        # Whoever triggers a run sees its failure. Others are notified only if the ledger has recorded it.
        is_offload = context["task"].dag_id == DAG_ID and data_interval(context) is not None
        failed = {table: issue_of(context.get("exception"))} if is_offload else {}
        run_with_timeout(CALLBACK_SECONDS, lambda: notify(datetime.now(timezone.utc), failed))
    except Exception:
        log.exception("Notification about the failure of %s failed; the freshness DAG checks again in minutes.", table)


def job_failed(context: Context) -> None:
    """Notify that a run of the audit, maintenance or report DAG has failed, once until a run succeeds. Never raises."""
    dag_id = context["task"].dag_id
    try:
        if failed_before(context):
            log.info("The previous run failed too, and that was notified.")
            return
        issue = issue_of(context.get("exception")).message
        run_with_timeout(CALLBACK_SECONDS, lambda: _notify_job(dag_id, issue))
    except Exception:
        log.exception("Notification about the failure of %s failed.", dag_id)


def _notify_job(dag_id: str, issue: str) -> None:
    from offload_ops.alerts.message import job_alert

    settings = load_settings()
    notify_all(settings, job_alert(settings.pipeline_id, dag_id, issue, datetime.now(timezone.utc)))


def issue_of(exception: object) -> Issue:
    """The exception that a task ended with, as the ledger would have it."""
    error = exception
    while isinstance(error, BaseException) and not isinstance(error, OffloadError):
        error = error.__cause__
    if isinstance(error, OffloadError):
        return Issue(error.kind, error.problem, error.remedy, attempts=1)
    text = " ".join(str(exception).split()) if exception else "The task was ended from outside."
    return Issue(OffloadError.kind, text or type(exception).__name__, "See the task's log in Airflow.", attempts=1)
