"""What happens when a task has failed for good: after its last attempt, or at once where another attempt could not help."""

from __future__ import annotations

import logging
from datetime import datetime, timezone

from offload_airflow.callbacks.limits import CALLBACK_SECONDS
from offload_airflow.compat.context import data_interval, failed_before
from offload_airflow.compat.sdk import Context
from offload_airflow.config.tables import load_settings
from offload_airflow.dag_ids import DAG_ID
from offload_airflow.notify.alerts import tell, tell_every_channel
from offload_core.errors import OffloadError
from offload_ops.table_state import Problem
from offload_ops.timeouts import within

log = logging.getLogger(__name__)


def table_failed(context: Context) -> None:
    """Tell that a table can't be offloaded, once per table and cause; that it has been halted, at once.

    Never raises and never takes long: whatever becomes of the message, nothing of the run changes.
    """
    table = getattr(context["task"], "table", None)
    if table is None:
        return
    try:
        # What somebody asked for by hand is theirs to see, unless the ledger has it.
        is_offload = context["task"].dag_id == DAG_ID and data_interval(context) is not None
        given_up = {table: problem_of(context.get("exception"))} if is_offload else {}
        within(CALLBACK_SECONDS, lambda: tell(datetime.now(timezone.utc), given_up))
    except Exception:
        log.exception("The failure of %s could not be told: the freshness DAG looks again within minutes.", table)


def job_failed(context: Context) -> None:
    """Tell that a run of an audit, a maintenance or a report has failed, once until one succeeds again. Never raises."""
    dag_id = context["task"].dag_id
    try:
        if failed_before(context):
            log.info("The run before failed as well: told then.")
            return
        problem = problem_of(context.get("exception")).message
        within(CALLBACK_SECONDS, lambda: _tell_job(dag_id, problem))
    except Exception:
        log.exception("The failure of %s could not be told.", dag_id)


def _tell_job(dag_id: str, problem: str) -> None:
    from offload_ops.alerts.message import job_alert

    settings = load_settings()
    tell_every_channel(settings, job_alert(settings.pipeline_id, dag_id, problem, datetime.now(timezone.utc)))


def problem_of(exception: object) -> Problem:
    """What a task ended with, as the ledger would have it."""
    error = exception
    while isinstance(error, BaseException) and not isinstance(error, OffloadError):
        error = error.__cause__
    if isinstance(error, OffloadError):
        return Problem(error.kind, error.problem, error.remedy, attempts=1)
    told = " ".join(str(exception).split()) if exception else "The task was ended from outside."
    remedy = "See the task's log in Airflow."
    return Problem(OffloadError.kind, told or type(exception).__name__, remedy, attempts=1)
