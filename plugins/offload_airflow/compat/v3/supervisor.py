"""Requests to the supervisor, the process that Airflow 3 runs beside each task, DAG file and callback.

The supervisor calls Airflow's API for them. All other processes, commands and Airflow's servers, use the database.
"""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import Any, TypeVar

from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse

_Response = TypeVar("_Response")


def is_present() -> bool:
    """Whether this process has a supervisor, and so no access to Airflow's database."""
    return getattr(task_runner, "SUPERVISOR_COMMS", None) is not None


def is_dag_processor() -> bool:
    """Whether this process, which has a supervisor, parses a DAG file or runs a callback for it, and is not a task."""
    return os.environ.get("_AIRFLOW_PROCESS_CONTEXT") == "client"


def request(message: Any, expected: type[_Response]) -> _Response:
    """Send a request to the supervisor and return its response.

    Args:
        message: one of the messages of `airflow.sdk.execution_time.comms`.
        expected: the class of the response.

    Raises:
        AirflowRuntimeError: Airflow's API or its database can't be reached, refuses, or has no such object.
    """
    response = task_runner.SUPERVISOR_COMMS.send(message)
    if isinstance(response, ErrorResponse):
        raise AirflowRuntimeError(response)
    if not isinstance(response, expected):
        raise TypeError(f"Airflow answered {type(message).__name__} with {type(response).__name__}.")
    return response


def request_as_task(message: Any, expected: type[_Response]) -> _Response:
    """Send a request that only tasks may send. The supervisor of any other process would never answer it.

    Raises:
        RuntimeError: this process parses a DAG file or runs a callback for it.
        AirflowRuntimeError: Airflow's API or its database can't be reached, refuses, or has no such object.
    """
    if is_dag_processor():
        raise RuntimeError(f"Airflow's DAG processor does not answer {type(message).__name__}.")
    return request(message, expected)


def require_missing(error: AirflowRuntimeError) -> None:
    """Raise an error again unless it says that Airflow's API has not found the object."""
    if (error.error.detail or {}).get("status_code") != HTTPStatus.NOT_FOUND:
        raise error
