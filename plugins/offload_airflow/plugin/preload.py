"""Makes tasks start faster: the modules that tasks and DAG files need are imported once, before their processes fork.

LocalExecutor forks a process per task from the scheduler, and the DAG processor forks one per file. Otherwise each of
them would import the package and its providers again, which takes 0.4 s of CPU. Now they share the memory of one copy.
Executors that start new interpreters are not affected.

Like every plugin, it stays as it was loaded: restart the scheduler after an upgrade (docs/production.md).
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
    """An Airflow listener that imports modules ahead of time."""

    @hookimpl
    def on_starting(self) -> None:
        """Called when a component of Airflow starts, before it forks any process."""
        if forks_tasks():
            preload()


def preload() -> None:
    """Import all modules. A failed import is only logged: its own task or DAG reports it; the others keep working."""
    for name in MODULES:
        try:
            importlib.import_module(name)
        except Exception:
            log.exception("%s can't be imported ahead of time.", name)
