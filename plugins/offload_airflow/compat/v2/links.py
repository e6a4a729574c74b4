"""Addresses in the web interface of Airflow 2.11."""

from __future__ import annotations

from flask import url_for

__all__ = ["dag_url", "log_url", "run_url"]


def dag_url(dag_id: str) -> str:
    """The DAG's grid."""
    return url_for("Airflow.grid", dag_id=dag_id)


def run_url(dag_id: str, run_id: str) -> str:
    """A run in the grid of its DAG."""
    return url_for("Airflow.grid", dag_id=dag_id, dag_run_id=run_id)


def log_url(dag_id: str, run_id: str, task_id: str) -> str:
    """The log of a task in a run."""
    return url_for("Airflow.grid", dag_id=dag_id, dag_run_id=run_id, task_id=task_id, tab="logs")
