"""What needs Airflow's database while the DAGs run: the scheduler does it for the tasks, which have no way to it."""

from __future__ import annotations

import logging
from typing import Any

from airflow.listeners import hookimpl

log = logging.getLogger(__name__)

_POOL_SLOTS = 2
_SECONDS = 10.0
"""How long the scheduler may be held up."""


class SchedulerDuties:
    """A listener of Airflow's, for the process that starts the runs."""

    @hookimpl
    def on_dag_run_running(self, dag_run: Any, msg: str) -> None:  # noqa: ARG002
        """Called when a run begins, before any of its tasks: see `make_pool` and `note_starts`."""
        from offload_airflow.airflow3.starts import note_starts
        from offload_airflow.dag_ids import DAG_ID
        from offload_core.deadline import within

        duties = {DAG_ID: make_pool, f"{DAG_ID}_report": note_starts}
        duty = duties.get(dag_run.dag_id)
        if duty is None:
            return
        try:
            # In a thread, which has a session of its own: the scheduler's must not be committed here.
            within(_SECONDS, duty)
        except Exception:
            log.exception("What a run of %s needs of Airflow's database could not be done.", dag_run.dag_id)


def make_pool() -> None:
    """Make the Spark tasks' pool if it is missing: they would wait for ever."""
    from airflow.models.pool import Pool

    from offload_airflow.table_configs import load_settings

    name = load_settings().pool
    if Pool.get_pool(name) is None:
        Pool.create_or_update_pool(
            name, _POOL_SLOTS, "Spark jobs of the Iceberg offload that run at once", include_deferred=False
        )
        log.warning("Created the missing pool %s with %s slots; change their number in Airflow.", name, _POOL_SLOTS)
