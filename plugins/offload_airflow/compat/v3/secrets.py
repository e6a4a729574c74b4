"""The secrets backends of Airflow 3. In a process with a supervisor, Airflow's API takes the place of its database.

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
    """Airflow's API, where "not found" is a result and any other failure is raised."""

    def get_variable(self, key: str) -> str | None:
        try:
            return supervisor.request(GetVariable(key=key), VariableResult).value
        except AirflowRuntimeError as error:
            _require_not_found(error, ErrorType.VARIABLE_NOT_FOUND)
            return None

    def get_connection(self, conn_id: str) -> Connection | None:
        try:
            found = supervisor.request(GetConnection(conn_id=conn_id), ConnectionResult)
        except AirflowRuntimeError as error:
            _require_not_found(error, ErrorType.CONNECTION_NOT_FOUND)
            # The API also answers "not found" when it cannot read the database. This request then fails.
            _variable_names(conn_id)
            return None
        return Connection(**found.model_dump(exclude={"type"}, by_alias=True))


def backends() -> Sequence[Any]:
    """The places where Variables and Connections are looked up, in order."""
    if not supervisor.is_present():
        return ensure_secrets_loaded()
    found = ensure_secrets_backend_loaded()
    return [_Api() if isinstance(backend, ExecutionAPISecretsBackend) else backend for backend in found]


def is_stored(key: str) -> bool:
    """Whether Airflow's database has a Variable, even one that it cannot decrypt.

    Raises:
        AirflowRuntimeError: Airflow's API, or the database behind it, can't be reached.
    """
    if supervisor.is_present():
        return key in _variable_names(key)
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return session.scalar(select(Variable.id).where(Variable.key == key)) is not None


def _variable_names(prefix: str) -> Sequence[str]:
    """The names of Variables with this prefix. Only the database has them."""
    return supervisor.request(GetVariableKeys(prefix=prefix, limit=100, offset=0), VariableKeysResult).keys


def _require_not_found(error: AirflowRuntimeError, expected: ErrorType) -> None:
    if error.error.error is not expected:
        raise error
