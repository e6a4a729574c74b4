"""The secrets backends of Airflow 3, with Airflow's API in the place of its database where a process has a supervisor.

The Task SDK's own backend answers "not set" when the API, or the database behind it, can't be reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Connection
from airflow.sdk.configuration import ensure_secrets_loaded
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.cache import SecretCache
from airflow.sdk.execution_time.comms import (
    ConnectionResult,
    GetConnection,
    GetVariable,
    GetVariableKeys,
    VariableKeysResult,
    VariableResult,
)
from airflow.sdk.execution_time.secrets.execution_api import ExecutionAPISecretsBackend
from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

from offload_airflow.compat.v3 import supervisor

__all__ = ["SecretCache", "backends", "is_stored"]


class _Api:
    """Airflow's API, where "not found" is one answer and a failure another."""

    def get_variable(self, key: str) -> str | None:
        try:
            return supervisor.ask(GetVariable(key=key), VariableResult).value
        except AirflowRuntimeError as error:
            _nothing(error, ErrorType.VARIABLE_NOT_FOUND)
            return None

    def get_connection(self, conn_id: str) -> Connection | None:
        try:
            found = supervisor.ask(GetConnection(conn_id=conn_id), ConnectionResult)
        except AirflowRuntimeError as error:
            _nothing(error, ErrorType.CONNECTION_NOT_FOUND)
            _names(conn_id)  # the API takes a database that is away for a missing Connection, but not here
            return None
        return Connection(**found.model_dump(exclude={"type"}, by_alias=True))


def backends() -> Sequence[Any]:
    """Where Variables and Connections are looked up, in this order."""
    if not supervisor.is_there():
        return ensure_secrets_loaded()
    found = ensure_secrets_backend_loaded()
    return [_Api() if isinstance(backend, ExecutionAPISecretsBackend) else backend for backend in found]


def is_stored(key: str) -> bool:
    """Whether Airflow's database has a Variable, readable or not.

    Raises:
        AirflowRuntimeError: Airflow's API, or the database behind it, can't be reached.
    """
    if supervisor.is_there():
        return key in _names(key)
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return session.scalar(select(Variable.id).where(Variable.key == key)) is not None


def _names(prefix: str) -> Sequence[str]:
    """The names of Variables that begin so, which only the database can tell."""
    return supervisor.ask(GetVariableKeys(prefix=prefix, limit=100, offset=0), VariableKeysResult).keys


def _nothing(error: AirflowRuntimeError, expected: ErrorType) -> None:
    if error.error.error is not expected:
        raise error
