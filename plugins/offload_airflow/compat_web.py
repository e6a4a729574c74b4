"""What the page needs of Airflow's webserver: the part of `compat` about permissions, addresses and the audit log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from airflow.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.www.decorators import action_logging
from airflow.www.extensions.init_auth_manager import get_auth_manager
from flask import url_for
from flask_appbuilder import BaseView, expose
from flask_wtf.csrf import generate_csrf

__all__ = [
    "BaseView",
    "csrf_field",
    "dag_url",
    "in_audit_log",
    "is_logged_in",
    "log_url",
    "login_url",
    "may_act",
    "may_see",
    "route",
    "run_url",
    "runs_known",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def route(path: str, method: str = "GET") -> Callable[[_Function], _Function]:
    """Shows a view's method at a path below the view's own."""
    decorate: Callable[[_Function], _Function] = expose(path, methods=[method])
    return decorate


def in_audit_log(event: str, function: _Function) -> _Function:
    """The same function, which leaves an entry in Airflow's audit log: who asked for it, and with what."""
    logged: _Function = action_logging(event=event)(function)
    return logged


def csrf_field() -> tuple[str, str]:
    """The field that shows that a form was sent from our own page; Airflow refuses every form without it."""
    return "csrf_token", generate_csrf()


def is_logged_in() -> bool:
    """Whether somebody is, or may be nobody (`AUTH_ROLE_PUBLIC`)."""
    return bool(get_auth_manager().is_logged_in())


def login_url(following: str) -> str:
    """Where to log in, and go on to an address afterwards."""
    return str(get_auth_manager().get_url_login(next_url=following))


def may_see(dag_id: str) -> bool:
    """Whether whoever asks may read the DAG."""
    return bool(get_auth_manager().is_authorized_dag(method="GET", details=DagDetails(id=dag_id)))


def may_act(dag_id: str) -> bool:
    """Whether whoever asks may edit the DAG and make runs of it."""
    return bool(
        get_auth_manager().is_authorized_dag(
            method="POST", access_entity=DagAccessEntity.RUN, details=DagDetails(id=dag_id)
        )
    )


def dag_url(dag_id: str) -> str:
    """The DAG's grid."""
    return url_for("Airflow.grid", dag_id=dag_id)


def run_url(dag_id: str, run_id: str) -> str:
    """A run in the DAG's grid."""
    return url_for("Airflow.grid", dag_id=dag_id, dag_run_id=run_id)


def log_url(dag_id: str, run_id: str, task_id: str) -> str:
    """A task's log of a run."""
    return url_for("Airflow.grid", dag_id=dag_id, dag_run_id=run_id, task_id=task_id, tab="logs")


def runs_known(run_ids: Iterable[str], dag_ids: Sequence[str]) -> dict[str, str]:
    """The DAGs of those runs that Airflow knows, by run id; where several DAGs have a run of an id, the first of `dag_ids`."""
    with create_session() as session:
        runs = session.query(DagRun.run_id, DagRun.dag_id)
        found = runs.filter(DagRun.run_id.in_(list(run_ids)), DagRun.dag_id.in_(list(dag_ids))).all()
    return dict(sorted(((run_id, dag_id) for run_id, dag_id in found), key=lambda run: -dag_ids.index(run[1])))
