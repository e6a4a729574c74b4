"""Variables and Connections.

Airflow's own functions log a backend's error and continue. Then an unreachable database looks like a Variable that was
never set. The functions here raise the error.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from offload_airflow.compat.sdk import Connection
from offload_airflow.compat.version import AIRFLOW_V_3_0_PLUS
from offload_core.errors import FixConfiguration

if AIRFLOW_V_3_0_PLUS:
    from offload_airflow.compat.v3.secrets import SecretCache, backends, is_stored
else:
    from offload_airflow.compat.v2.secrets import SecretCache, backends, is_stored

_Value = TypeVar("_Value")


def find_variable(key: str) -> str | None:
    """The text of an Airflow Variable; None if it is not set.

    Raises:
        FixConfiguration: it is set but can't be decrypted.
        Exception: a secrets backend failed, and no other one has the Variable.
    """
    with suppress(SecretCache.NotPresentException):
        return SecretCache.get_variable(key)
    value = _first_value(lambda backend: backend.get_variable(key))
    if value is None:
        _require_unset(key)
    SecretCache.save_variable(key, value)
    return value


def find_connection(conn_id: str) -> Connection | None:
    """An Airflow Connection; None if it does not exist.

    Raises:
        Exception: a secrets backend failed, and no other one has the Connection.
    """
    return _first_value(lambda backend: backend.get_connection(conn_id))


def require_connection(conn_id: str) -> Connection:
    """An Airflow Connection.

    Raises:
        FixConfiguration: it does not exist.
        Exception: a secrets backend failed, and no other one has the Connection.
    """
    connection = find_connection(conn_id)
    if connection is None:
        raise FixConfiguration(
            f"The Airflow Connection `{conn_id}` does not exist.",
            f"Create it (Admin, Connections, or AIRFLOW_CONN_{conn_id.upper()}), or name another one in the settings.",
        )
    return connection


def _first_value(read: Callable[[Any], _Value | None]) -> _Value | None:
    failure: Exception | None = None
    for backend in backends():
        try:
            value = read(backend)
        except Exception as error:  # a later backend may still have the value
            failure = failure or error
        else:
            if value is not None:
                return value
    if failure is not None:
        raise failure
    return None


def _require_unset(key: str) -> None:
    # Airflow takes a Variable that was encrypted with another Fernet key for unset.
    if is_stored(key):
        raise FixConfiguration(
            f"The Airflow Variable `{key}` is set but can't be decrypted.",
            "Restore [core] fernet_key, or set the Variable again.",
        )
