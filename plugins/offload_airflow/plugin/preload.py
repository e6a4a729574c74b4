"""Makes every task start sooner: what tasks and DAG files import is imported once, in the process that forks theirs.

LocalExecutor forks a process per task from the scheduler, and the DAG processor one per file. Without this each of them would import the
package and its providers anew, 0.4 s of CPU; with it they share the pages of one copy. Executors that start fresh interpreters are neither
helped nor hurt.

Like every plugin it stays as it was loaded: after an upgrade, restart the scheduler (docs/production.md).
"""

from __future__ import annotations

import importlib
import logging

from offload_airflow.compat.plugin import TASK_RUNNERS, forks_tasks, hookimpl

log = logging.getLogger(__name__)

MODULES = (
    *TASK_RUNNERS,
    "offload_airflow.callbacks.failure",
    "offload_airflow.callbacks.sla",
    "offload_airflow.operators.cycle",
    "offload_airflow.operators.freshness",
    "offload_airflow.operators.report",
    "offload_airflow.task_groups.audit",
    "offload_airflow.task_groups.layer",
    "offload_airflow.task_groups.maintenance",
)


class Preload:
    """A listener of Airflow's."""

    @hookimpl
    def on_starting(self) -> None:
        """Called when a part of Airflow starts, before it forks any process."""
        if forks_tasks():
            preload()


def preload() -> None:
    """Import everything; what can't be imported is logged, for its own task or DAG will say so and the others shall run."""
    for name in MODULES:
        try:
            importlib.import_module(name)
        except Exception:
            log.exception("%s can't be imported ahead of time.", name)
