"""The process that Airflow 3 has beside each task, DAG file and callback, and that asks Airflow's API for it.

Everything else, the command line and Airflow's servers, asks Airflow's database.
"""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import Any, TypeVar

from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse

_Answer = TypeVar("_Answer")


def is_there() -> bool:
    """Whether this process has a supervisor, and no way to Airflow's database."""
    return getattr(task_runner, "SUPERVISOR_COMMS", None) is not None


def is_dag_processors() -> bool:
    """Whether this process, which has a supervisor, parses a DAG file or runs a callback for it, and is no task."""
    return os.environ.get("_AIRFLOW_PROCESS_CONTEXT") == "client"


def ask(question: Any, expected: type[_Answer]) -> _Answer:
    """The supervisor's answer.

    Args:
        question: one of the messages of `airflow.sdk.execution_time.comms`.
        expected: the class of the answer.

    Raises:
        AirflowRuntimeError: Airflow's API or its database can't be reached or refuses, or knows nothing of what is asked for.
    """
    answer = task_runner.SUPERVISOR_COMMS.send(question)
    if isinstance(answer, ErrorResponse):
        raise AirflowRuntimeError(answer)
    if not isinstance(answer, expected):
        raise TypeError(f"Airflow answered {type(question).__name__} with {type(answer).__name__}.")
    return answer


def ask_as_task(question: Any, expected: type[_Answer]) -> _Answer:
    """The same for a question that only a task may ask: the supervisor of another process would never answer it.

    Raises:
        RuntimeError: this process parses a DAG file or runs a callback for it.
        AirflowRuntimeError: as `ask`.
    """
    if is_dag_processors():
        raise RuntimeError(f"Airflow's DAG processor does not answer {type(question).__name__}.")
    return ask(question, expected)


def require_missing(error: AirflowRuntimeError) -> None:
    """Raise an error again unless it says that Airflow's API has not found what it was asked for."""
    if (error.error.detail or {}).get("status_code") != HTTPStatus.NOT_FOUND:
        raise error
