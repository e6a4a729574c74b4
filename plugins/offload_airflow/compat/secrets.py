"""Looking up Variables and Connections.

Airflow's own look-ups log a backend's error and continue, so that a database that cannot be reached looks like a Variable
that was never set. These raise.
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

_Answer = TypeVar("_Answer")


def find_variable(key: str) -> str | None:
    """The text of an Airflow Variable, or None if it is set nowhere.

    Raises:
        FixConfiguration: it is set, but can't be decrypted.
        Exception: what a secrets backend raised, if no other one has the Variable.
    """
    with suppress(SecretCache.NotPresentException):
        return SecretCache.get_variable(key)
    value = _first_answer(lambda backend: backend.get_variable(key))
    if value is None:
        _refuse_unreadable(key)
    SecretCache.save_variable(key, value)
    return value


def find_connection(conn_id: str) -> Connection | None:
    """An Airflow Connection, or None if it exists nowhere.

    Raises:
        Exception: what a secrets backend raised, if no other one has the Connection.
    """
    return _first_answer(lambda backend: backend.get_connection(conn_id))


def require_connection(conn_id: str) -> Connection:
    """An Airflow Connection.

    Raises:
        FixConfiguration: it exists nowhere.
        Exception: what a secrets backend raised, if no other one has the Connection.
    """
    connection = find_connection(conn_id)
    if connection is None:
        raise FixConfiguration(
            f"The Airflow Connection `{conn_id}` does not exist.",
            f"Create it (Admin, Connections, or AIRFLOW_CONN_{conn_id.upper()}), or name another one in the settings.",
        )
    return connection


def _first_answer(ask: Callable[[Any], _Answer | None]) -> _Answer | None:
    failure: Exception | None = None
    for backend in backends():
        try:
            answer = ask(backend)
        except Exception as error:  # whatever a backend raises, a later one may still have the answer
            failure = failure or error
        else:
            if answer is not None:
                return answer
    if failure is not None:
        raise failure
    return None


def _refuse_unreadable(key: str) -> None:
    # Airflow reads a Variable whose Fernet key has changed as unset.
    if is_stored(key):
        raise FixConfiguration(
            f"The Airflow Variable `{key}` is set but can't be decrypted.",
            "Restore [core] fernet_key, or set the Variable again.",
        )
