"""The secrets backends of Airflow 2.11. One of them is Airflow's database."""

from __future__ import annotations

from collections.abc import Sequence

from airflow.configuration import ensure_secrets_loaded
from airflow.models.variable import Variable
from airflow.secrets import BaseSecretsBackend
from airflow.secrets.cache import SecretCache
from airflow.utils.session import create_session

__all__ = ["SecretCache", "backends", "is_stored"]


def backends() -> Sequence[BaseSecretsBackend]:
    """The places where Variables and Connections are looked up, in order."""
    return ensure_secrets_loaded()


def is_stored(key: str) -> bool:
    """Whether Airflow's database has a Variable, even one that it cannot decrypt."""
    with create_session() as session:
        return session.query(Variable.id).filter(Variable.key == key).first() is not None
