"""Addresses in Airflow 3's web interface."""

from __future__ import annotations

from urllib.parse import quote

from airflow.api_fastapi.app import API_ROOT_PATH

__all__ = ["dag_url", "log_url", "run_url"]


def dag_url(dag_id: str) -> str:
    """The DAG with its grid."""
    return f"{API_ROOT_PATH}dags/{quote(dag_id, safe='')}"


def run_url(dag_id: str, run_id: str) -> str:
    """A run in the grid of its DAG."""
    return f"{dag_url(dag_id)}/runs/{quote(run_id, safe='')}"


def log_url(dag_id: str, run_id: str, task_id: str) -> str:
    """The log of a task in a run."""
    return f"{run_url(dag_id, run_id)}/tasks/{quote(task_id, safe='')}"
