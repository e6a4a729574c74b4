"""The content of the page: the state of every table, with links into Airflow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from http import HTTPStatus

from offload_airflow.compat.links import dag_url, dags_of_runs, log_url, run_url
from offload_airflow.compat.secrets import require_connection
from offload_airflow.config.tables import load_settings, load_tables
from offload_airflow.dag_ids import DAG_ID, DAG_IDS
from offload_airflow.hooks.connections import postgres_connection
from offload_airflow.notify.alerts import offload_cycles
from offload_airflow.task_groups.layer import tasks_of
from offload_core.config.settings import Settings
from offload_core.config.tables import InvalidTable, Layer, TableConfig
from offload_core.errors import OffloadError, RetryLater
from offload_core.ledger.rows import StepKind
from offload_ops.status_page.compute import build_page, page_unavailable
from offload_ops.status_page.model import Action, Addresses, PageUnavailable, StatusPage
from offload_ops.status_page.read import PageData, read_page_data

log = logging.getLogger(__name__)


def load_page(act: Callable[[Action, str], str] | None) -> tuple[StatusPage | PageUnavailable, HTTPStatus]:
    """The current content and the HTTP status, which is 503 if the ledger or the configuration can't be read.

    Args:
        act: returns the address at which an action is confirmed; None for users who may only look.
    """
    settings: Settings | None = None
    try:
        settings, tables = load_settings(), load_tables()
        data = read_page_data(postgres_connection(require_connection(settings.postgres_conn_id)), tables, settings)
        return build_page(data, settings, offload_cycles(), _addresses(data, act)), HTTPStatus.OK
    except OffloadError as error:
        problem = error
    except Exception as error:  # from a secrets backend or Airflow's database; a browser must never see a stack trace
        log.exception("The page can't be built.")
        problem = airflow_unavailable(error)
    return page_unavailable(problem, settings, datetime.now(timezone.utc)), HTTPStatus.SERVICE_UNAVAILABLE


def airflow_unavailable(error: Exception) -> OffloadError:
    """The error to show when Airflow itself has failed."""
    while error.__context__ is not None and isinstance(error.__context__, Exception):
        error = error.__context__
    return RetryLater(
        f"Airflow's Variables, Connections or runs can't be read ({type(error).__name__}).",
        "Check that Airflow's database and secrets backend are up. The log of its web interface has the full error.",
    )


def _addresses(data: PageData, act: Callable[[Action, str], str] | None) -> Addresses:
    rows = [state.row for state in data.states if state.row is not None]
    dags = _dags_of_runs([row.run_id for row in rows if row.run_id])
    tasks = _task_ids(data.tables)

    def run_address(run_id: str) -> str | None:
        return run_url(dags[run_id], run_id) if run_id in dags else None

    def log_address(run_id: str, table: str, kind: str) -> str | None:
        if dags.get(run_id) != DAG_ID or table not in tasks:
            return None
        wait, offload = tasks[table]
        return log_url(DAG_ID, run_id, wait if kind == StepKind.EMPTY else offload)

    return Addresses(dag=dag_url(DAG_ID), run=run_address, log=log_address, act=act)


def _dags_of_runs(run_ids: Sequence[str]) -> dict[str, str]:
    try:
        return dags_of_runs(run_ids, DAG_IDS)
    except Exception:  # the tables matter more than their links
        log.exception("Airflow's runs can't be read.")
        return {}


def _task_ids(tables: Sequence[TableConfig | InvalidTable]) -> dict[str, tuple[str, str]]:
    """The sensor and the Spark task of each table that is switched on."""
    return {tasks.table: (tasks.wait, tasks.offload) for layer in Layer for tasks in tasks_of(layer, tables)}
