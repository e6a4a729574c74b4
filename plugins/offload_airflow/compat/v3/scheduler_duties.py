"""Work in Airflow's database while the DAGs run. The scheduler does it, because tasks cannot reach the database."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from airflow.listeners import hookimpl

log = logging.getLogger(__name__)

_SECONDS = 10.0
"""How long this may hold up the scheduler."""


class SchedulerDuties:
    """A listener in the process that starts the runs.

    Args:
        pool: returns the name of the Spark tasks' pool.
    """

    def __init__(self, pool: Callable[[], str]) -> None:
        self._pool = pool

    @hookimpl
    def on_dag_run_running(self, dag_run: Any, msg: str) -> None:  # noqa: ARG002
        """Called when a run starts, before any of its tasks. Calls `create_pool` or `save_starts`."""
        from offload_airflow.compat.v3.scheduler_starts import save_starts
        from offload_airflow.dag_ids import DAG_ID
        from offload_ops.timeouts import run_with_timeout

        duties = {DAG_ID: lambda: create_pool(self._pool()), f"{DAG_ID}_report": save_starts}
        duty = duties.get(dag_run.dag_id)
        if duty is None:
            return
        try:
            # In a thread, which has its own session: the scheduler's session must not be committed here.
            run_with_timeout(_SECONDS, duty)
        except Exception:
            log.exception("The preparation of a run of %s in Airflow's database failed.", dag_run.dag_id)


def create_pool(name: str) -> None:
    """Create the Spark tasks' pool if it is missing. Without it they would wait forever."""
    from airflow.models.pool import Pool

    from offload_core.config.settings import POOL_DESCRIPTION, POOL_SLOTS

    if Pool.get_pool(name) is None:
        Pool.create_or_update_pool(name, POOL_SLOTS, POOL_DESCRIPTION, include_deferred=False)
        log.warning("Created the missing pool %s with %s slots; change their number in Airflow.", name, POOL_SLOTS)
