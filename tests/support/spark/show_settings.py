"""Reads a table with Spark, then prints what Spark's pages show of its settings: a Spark job of the tests. Argument: the table."""

from __future__ import annotations

import json
import os
import sys

from offload_core.config.connections import load_connections
from offload_spark.runtime.session import start_session


def main() -> None:
    """Print `{"rows": …, "shown": …}` as the last line."""
    connection = load_connections(os.environ).iceberg
    session = start_session(connection)
    rows = session.table(f"{connection.name}.{sys.argv[1]}").count()
    print(json.dumps({"rows": rows, "shown": dict(session.sparkContext.getConf().getAll())}))


main()
