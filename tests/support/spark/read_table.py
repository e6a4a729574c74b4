"""A Spark job of the tests that reads an Iceberg table and prints its rows as JSON.

Arguments: table (`cold.trades`) and a filter in Spark SQL. Every value is printed as text that keeps all its digits.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import date, datetime, timezone
from decimal import Decimal

from offload_core.config.connections import load_connections
from offload_spark.runtime.session import start_session


def text(value: object) -> object:
    """A value as JSON, without any loss."""
    if isinstance(value, datetime):
        # With the session in UTC, Spark hands timestamps over as local time of this process, without a zone.
        return value.astimezone(timezone.utc).isoformat(timespec="microseconds")
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, date):
        return str(value)
    if isinstance(value, bytes | bytearray):
        return bytes(value).hex()
    if isinstance(value, float):
        return value.hex()
    return value


def main() -> None:
    """Print `{"rows": …}` as the last line."""
    connection = load_connections(os.environ).iceberg
    session = start_session(connection)
    rows = session.table(f"{connection.name}.{sys.argv[1]}").where(sys.argv[2]).collect()
    print(json.dumps({"rows": [{name: text(value) for name, value in row.asDict().items()} for row in rows]}))


main()
