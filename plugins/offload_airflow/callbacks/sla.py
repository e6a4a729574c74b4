"""What happens when Airflow notices that the offload is late: 2.11 says which tasks missed their SLA, 3 which run missed its deadline."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from offload_airflow.callbacks.limits import CALLBACK_SECONDS
from offload_airflow.dag_ids import DAG_ID
from offload_airflow.notify.alerts import tell
from offload_core.protocol.window import from_iso
from offload_ops.alerts.model import Cycles
from offload_ops.timeouts import within

log = logging.getLogger(__name__)


def sla_miss_callback(
    dag: Any, _task_list: str, _blocking_task_list: str, slas: Sequence[Any], _blocking_tis: Sequence[Any]
) -> None:
    """Log how late every table really is, and tell it: Airflow only knows that a task has not ended in time.

    Never raises, because Airflow would call it again at every check. Its lines are in the DAG processor's log.
    """
    _tell(lambda: f"SLA missed in {dag.dag_id} by {', '.join(sorted({miss.task_id for miss in slas}))}.")


def deadline_missed(context: Mapping[str, Any]) -> None:
    """Log how late every table really is, and tell it: Airflow only knows that a run has not ended in time.

    Never raises. Its lines are in the log of the executor's callback.

    Args:
        context: Airflow's, with the run under `dag_run` as its API has it. It's all that such a callback can know of Airflow's runs.
    """

    def cycles() -> Cycles:
        run = context["dag_run"]
        began, queued = _moment(run.get("start_date")), _moment(run.get("queued_at"))
        return Cycles(DAG_ID, running_since=began, last_started=began or queued)

    _tell(lambda: f"Deadline missed in {DAG_ID} by {context['dag_run']['dag_run_id']}.", cycles)


def _moment(said: object) -> datetime | None:
    return from_iso(str(said)) if said else None


def _tell(late: Callable[[], str], cycles: Callable[[], Cycles] | None = None) -> None:
    try:
        log.warning("%s", late())
        within(CALLBACK_SECONDS, lambda: tell(datetime.now(timezone.utc), cycles=cycles))
    except Exception:
        log.exception("The lag of the tables can't be told: the freshness DAG looks again within minutes.")
