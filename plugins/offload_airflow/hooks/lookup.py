"""Looking up a hook's Connection, with an error that says whether it is missing or a secrets backend has failed."""

from __future__ import annotations

from offload_airflow.compat.sdk import Connection
from offload_airflow.compat.secrets import require_connection


class RequiresConnection:
    """Mix-in for hooks, listed before the hook that it changes.

    Airflow's own lookup says "isn't defined" in both cases. The Spark hook then even continues with YARN.
    """

    @classmethod
    def get_connection(cls, conn_id: str) -> Connection:
        """The Connection.

        Raises:
            FixConfiguration: it does not exist.
            Exception: a secrets backend failed, and no other one has the Connection.
        """
        return require_connection(conn_id)
