"""What happens when Airflow notices that a table is late."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from offload_airflow.alerts import tell
from offload_airflow.callbacks.limits import CALLBACK_SECONDS
from offload_core.deadline import within

log = logging.getLogger(__name__)


def sla_miss_callback(
    dag: Any, _task_list: str, _blocking_task_list: str, slas: Sequence[Any], _blocking_tis: Sequence[Any]
) -> None:
    """Log how late every table really is, and tell it: Airflow only knows that a task has not ended in time.

    Never raises, because Airflow would call it again at every check. Its lines are in the DAG processor's log.
    """
    try:
        missed = sorted({miss.task_id for miss in slas})
        log.warning("SLA missed in %s by %s.", dag.dag_id, ", ".join(missed))
        within(CALLBACK_SECONDS, lambda: tell(datetime.now(timezone.utc)))
    except Exception:
        log.exception("The lag of the tables can't be told: the freshness DAG looks again within minutes.")
