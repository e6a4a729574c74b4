"""A hook's Connection look-up that tells a missing Connection from a secrets backend that failed."""

from __future__ import annotations

from offload_airflow.compat.sdk import Connection
from offload_airflow.compat.secrets import require_connection


class RequiresConnection:
    """Mix-in for hooks, named before the hook it changes.

    Airflow's own look-up answers "isn't defined" in both cases; the Spark hook even goes on with YARN then.
    """

    @classmethod
    def get_connection(cls, conn_id: str) -> Connection:
        """The Connection.

        Raises:
            FixConfiguration: it does not exist.
            Exception: what the secrets backend raised.
        """
        return require_connection(conn_id)
