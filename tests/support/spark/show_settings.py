"""A Spark job of the tests that reads a table and prints the settings that Spark's UI shows. Argument: the table."""

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
