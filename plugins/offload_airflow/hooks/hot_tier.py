"""ClickHouse through an Airflow Connection, with the native protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import clickhouse_driver
import clickhouse_driver.errors

from offload_airflow.compat.clickhouse import ClickHouseHook, conn_to_kwargs
from offload_airflow.hooks.lookup import RequiresConnection
from offload_core.config.connections import ClickHouseConnection
from offload_core.errors import ClickHouseUnavailable
from offload_core.source.clickhouse import server_error

_CONNECT_SECONDS = 10


class HotTierHook(RequiresConnection, ClickHouseHook):  # type: ignore[misc]  # the plugin is not typed
    """Runs small queries in ClickHouse. Its errors are raised as errors of the offload.

    Args:
        clickhouse_conn_id: the Airflow Connection.
        timeout_seconds: a query without a response fails after this time, unless the Connection's extras set another.
    """

    def __init__(self, *, clickhouse_conn_id: str, timeout_seconds: float) -> None:
        super().__init__(clickhouse_conn_id=clickhouse_conn_id)
        self.conn_id = clickhouse_conn_id
        self.timeout_seconds = timeout_seconds

    def get_conn(self) -> clickhouse_driver.Client:
        """A client of the driver that has not connected yet."""
        connection = self.get_connection(self.conn_id)
        database = connection.schema or ClickHouseConnection.model_fields["database"].default
        timeouts = {"connect_timeout": _CONNECT_SECONDS, "send_receive_timeout": self.timeout_seconds}
        return clickhouse_driver.Client(**{**timeouts, **conn_to_kwargs(connection, database)})

    def first_value(self, query: str, parameters: Mapping[str, str] | None = None) -> Any:
        """The first column of the query's first row; None if there is no row.

        Raises:
            ClickHouseUnavailable: it can't be reached, does not respond in time, or breaks the connection off.
            FixCredentials: it refused the user or the password.
            FixSource: a table, database or column is missing.
            QueryFailed: any other error in ClickHouse.
        """
        try:
            rows = self.execute(query, dict(parameters or {}) or None)
        except clickhouse_driver.errors.ServerException as error:
            user = self.get_connection(self.conn_id).login or "default"
            raise server_error(error.code, error.message, user) from error
        except (clickhouse_driver.errors.Error, OSError, EOFError) as error:
            raise self._unavailable(error) from error
        return rows[0][0] if rows else None

    def _unavailable(self, error: Exception) -> ClickHouseUnavailable:
        connection = self.get_connection(self.conn_id)
        reason = " ".join(str(error).split()) or type(error).__name__
        where = f"{connection.host}:{connection.port or 'its default port'}"
        return ClickHouseUnavailable(
            f"ClickHouse at {where} can't be reached or broke the connection off: {reason}.",
            f"Start it or correct the Connection `{self.conn_id}`. The next attempt starts from the same watermark.",
        )
