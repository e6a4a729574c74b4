"""Notifies when Airflow notices that the offload is late.

Airflow 2.11 reports the tasks that missed their SLA, Airflow 3 the run that missed its deadline.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from offload_airflow.dag_ids import DAG_ID
from offload_airflow.notify.alerts import CALLBACK_SECONDS, notify
from offload_core.protocol.window import from_iso
from offload_ops.alerts.model import Cycles
from offload_ops.timeouts import run_with_timeout

log = logging.getLogger(__name__)


def sla_miss_callback(
    dag: Any, _task_list: str, _blocking_task_list: str, slas: Sequence[Any], _blocking_tis: Sequence[Any]
) -> None:
    """Log and notify how late every table is. Airflow only knows that a task has not ended in time.

    It never raises, because Airflow would call it again at every check. Its output is in the DAG processor's log.
    """
    _notify_late(lambda: f"SLA missed in {dag.dag_id} by {', '.join(sorted({miss.task_id for miss in slas}))}.")


def deadline_missed(context: Mapping[str, Any]) -> None:
    """Log and notify how late every table is. Airflow only knows that a run has not ended in time.

    It never raises. Its output is in the log of the executor's callback.

    Args:
        context: Airflow's, with the run under `dag_run` in the API's format. Such a callback knows nothing else about
            Airflow's runs.
    """

    def cycles() -> Cycles:
        run = context["dag_run"]
        started, queued = _parse_time(run.get("start_date")), _parse_time(run.get("queued_at"))
        return Cycles(DAG_ID, running_since=started, last_started=started or queued)

    _notify_late(lambda: f"Deadline missed in {DAG_ID} by {context['dag_run']['dag_run_id']}.", cycles)


def _parse_time(value: object) -> datetime | None:
    return from_iso(str(value)) if value else None


def _notify_late(summary: Callable[[], str], cycles: Callable[[], Cycles] | None = None) -> None:
    try:
        log.warning("%s", summary())
        run_with_timeout(CALLBACK_SECONDS, lambda: notify(datetime.now(timezone.utc), cycles=cycles))
    except Exception:
        log.exception("Notification about late tables failed; the freshness DAG checks again in minutes.")
