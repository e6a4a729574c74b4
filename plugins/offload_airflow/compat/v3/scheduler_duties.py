"""What needs Airflow's database while the DAGs run. The scheduler does it for the tasks, which cannot reach the database."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from airflow.listeners import hookimpl

log = logging.getLogger(__name__)

_SECONDS = 10.0
"""How long the scheduler may be held up."""


class SchedulerDuties:
    """A listener in the process that starts the runs.

    Args:
        pool: reads the name of the Spark tasks' pool.
    """

    def __init__(self, pool: Callable[[], str]) -> None:
        self._pool = pool

    @hookimpl
    def on_dag_run_running(self, dag_run: Any, msg: str) -> None:  # noqa: ARG002
        """Called when a run begins, before any of its tasks: see `create_pool` and `save_starts`."""
        from offload_airflow.compat.v3.scheduler_starts import save_starts
        from offload_airflow.dag_ids import DAG_ID
        from offload_ops.timeouts import within

        duties = {DAG_ID: lambda: create_pool(self._pool()), f"{DAG_ID}_report": save_starts}
        duty = duties.get(dag_run.dag_id)
        if duty is None:
            return
        try:
            # In a thread, which has a session of its own: the scheduler's must not be committed here.
            within(_SECONDS, duty)
        except Exception:
            log.exception("What a run of %s needs of Airflow's database could not be done.", dag_run.dag_id)


def create_pool(name: str) -> None:
    """Create the Spark tasks' pool if it is missing; without it they would wait forever."""
    from airflow.models.pool import Pool

    from offload_core.config.settings import POOL_DESCRIPTION, POOL_SLOTS

    if Pool.get_pool(name) is None:
        Pool.create_or_update_pool(name, POOL_SLOTS, POOL_DESCRIPTION, include_deferred=False)
        log.warning("Created the missing pool %s with %s slots; change their number in Airflow.", name, POOL_SLOTS)
