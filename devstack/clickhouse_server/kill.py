"""KILL QUERY by the clients' query ids, which the engine does not know."""

from __future__ import annotations

import dataclasses
import json
import time

from devstack.clickhouse_server.engine import Engine
from devstack.clickhouse_server.errors import Code, ServerError
from devstack.clickhouse_server.sql import PROCESSES_VIEW, Kind, Statement
from offload_core.source.quoting import quote_text

_SYNC_SECONDS = 30.0
_POLL_SECONDS = 0.02


def kill(engine: Engine, statement: Statement) -> Statement:
    """Cancel the queries that a KILL QUERY statement selects.

    Returns:
        A SELECT with the rows that KILL QUERY returns.

    Raises:
        ServerError: the condition is wrong; TIMEOUT_EXCEEDED if a query killed with SYNC does not end.
    """
    mode = statement.sql
    # The condition is the client's own SQL; the client could run it anyway.
    named = f"FROM system.{PROCESSES_VIEW} SELECT engine_query_id, query_id, user, query WHERE ({statement.condition})"
    found = [json.loads(line) for line in engine.control(f"{named} FORMAT JSONCompactEachRow").splitlines()]
    if mode != "TEST":
        engine.kill(row[0] for row in found)
        engine.queries.cancel_ids(row[1] for row in found)
    if mode == "SYNC":
        _wait_for_end(engine, [row[0] for row in found])
    rows = ", ".join("(" + ", ".join(quote_text(value) for value in row[1:]) + ")" for row in found)
    status = "finished" if mode == "SYNC" else "waiting"
    table = f"(SELECT arrayJoin(CAST([{rows}], 'Array(Tuple(String, String, String))')) AS row)"
    columns = f"{quote_text(status)} AS kill_status, row.1 AS query_id, row.2 AS user, row.3 AS query"
    return dataclasses.replace(statement, kind=Kind.RESULT, sql=f"FROM {table} SELECT {columns}", streamed=True)


def _wait_for_end(engine: Engine, ids: list[str]) -> None:
    listed = ", ".join(quote_text(engine_id) for engine_id in ids)
    end = time.monotonic() + _SYNC_SECONDS
    count = f"FROM system.processes SELECT count() WHERE query_id IN ({listed})"
    while ids and engine.control(count).strip() != "0":
        if time.monotonic() > end:
            raise ServerError(
                Code.TIMEOUT_EXCEEDED, f"Killed queries are still running after {_SYNC_SECONDS:g} seconds."
            )
        time.sleep(_POLL_SECONDS)
