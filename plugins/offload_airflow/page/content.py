"""The page's content, for whoever asks: what the core makes of the ledger, with Airflow's addresses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from http import HTTPStatus

from offload_airflow.compat.links import dag_url, log_url, run_url, runs_known
from offload_airflow.compat.secrets import require_connection
from offload_airflow.config.tables import load_settings, load_tables
from offload_airflow.dag_ids import DAG_ID, DAG_IDS
from offload_airflow.hooks.connections import postgres_connection
from offload_airflow.notify.alerts import offload_cycles
from offload_airflow.task_groups.layer import tasks_of
from offload_core.config.settings import Settings
from offload_core.config.tables import InvalidTable, Layer, TableConfig
from offload_core.errors import OffloadError, RetryLater
from offload_ops.status_page.compute import page, unreadable
from offload_ops.status_page.model import Action, Addresses, StatusPage, Unreadable
from offload_ops.status_page.read import Known, read

log = logging.getLogger(__name__)


def look(act: Callable[[Action, str], str] | None) -> tuple[StatusPage | Unreadable, HTTPStatus]:
    """What the page says now, and the answer's status: 503 where the ledger or the configuration can't be read.

    Args:
        act: where an action is confirmed; None for those who may only look.
    """
    settings: Settings | None = None
    try:
        settings, tables = load_settings(), load_tables()
        known = read(postgres_connection(require_connection(settings.postgres_conn_id)), tables, settings)
        return page(known, settings, offload_cycles(), _addresses(known, act)), HTTPStatus.OK
    except OffloadError as error:
        found = error
    except (
        Exception
    ) as error:  # whatever a secrets backend or Airflow's database raises, nobody shall see a stack trace
        log.exception("The page can't be made.")
        found = airflow_unavailable(error)
    return unreadable(found, settings, datetime.now(timezone.utc)), HTTPStatus.SERVICE_UNAVAILABLE


def airflow_unavailable(error: Exception) -> OffloadError:
    """The error to tell of where Airflow itself could not be asked."""
    while error.__context__ is not None and isinstance(error.__context__, Exception):
        error = error.__context__
    return RetryLater(
        f"Airflow's Variables, Connections or runs can't be read ({type(error).__name__}).",
        "See that Airflow's database and secrets backend are up; the log of its web interface has the error in full.",
    )


def _addresses(known: Known, act: Callable[[Action, str], str] | None) -> Addresses:
    rows = [state.row for state in known.states if state.row is not None]
    dags = _runs_known([row.run_id for row in rows if row.run_id])
    tasks = _task_ids(known.tables)

    def run(run_id: str) -> str | None:
        return run_url(dags[run_id], run_id) if run_id in dags else None

    def logged(run_id: str, table: str, kind: str) -> str | None:
        if dags.get(run_id) != DAG_ID or table not in tasks:
            return None
        wait, offload = tasks[table]
        return log_url(DAG_ID, run_id, wait if kind == "empty" else offload)

    return Addresses(dag=dag_url(DAG_ID), run=run, log=logged, act=act)


def _runs_known(run_ids: Sequence[str]) -> dict[str, str]:
    try:
        return runs_known(run_ids, DAG_IDS)
    except Exception:  # the tables matter more than their links
        log.exception("Airflow can't be asked which runs it knows.")
        return {}


def _task_ids(tables: Sequence[TableConfig | InvalidTable]) -> dict[str, tuple[str, str]]:
    """The tasks of each table that is switched on: the one that waits, and the one that offloads."""
    return {tasks.table: (tasks.wait, tasks.offload) for layer in Layer for tasks in tasks_of(layer, tables)}
